#!/bin/sh
# SPDX-License-Identifier: MIT
# Text hygiene of every source file: no tabs, carriage returns, trailing space or invisible characters; a final newline; an SPDX
# line; names unique in the tree; C files of at most 120 columns and 800 lines. Ends with "N passed, N failed".
set -eu
cd "$(dirname "$0")/.."
passed=0 failed=0
tab=$(printf '\t') cr=$(printf '\r')
# Zero-width and bidirectional controls, the byte order mark, no-break space, soft hyphen.
invisible=$(printf '\342\200[\213-\217\252-\256]|\342\201[\240-\251]|\357\273\277|\302\240|\302\255')

files=$(find . \( -name .git -o -path ./o -o -name __pycache__ -o -path ./tests/models \) -prune -o -type f \( \
    -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.md' -o -name '*.in' -o -name '*.[1-8]' -o -name Makefile \
    -o -name '.clang-*' -o -path './.ci/*' \) -print | LC_ALL=C sort)

complaints() {
    case $1 in
    */Makefile) ;;
    *) LC_ALL=C grep -nF "$tab" "$1" | sed 's/:.*/: tab/' ;;
    esac
    LC_ALL=C grep -nF "$cr" "$1" | sed 's/:.*/: carriage return/'
    LC_ALL=C grep -nE ' $' "$1" | sed 's/:.*/: trailing space/'
    LC_ALL=C grep -nE "$invisible" "$1" | sed 's/:.*/: invisible character/'
    [ -z "$(tail -c 1 "$1")" ] || echo "no newline at the end"
    case $1 in
    *.[ch])
        [ "$(head -n 1 "$1")" = "/* SPDX-License-Identifier: MIT */" ] || echo "1: no SPDX line"
        # Columns, not bytes: continuation bytes of UTF-8 do not count.
        LC_ALL=C awk '{ gsub(/[\200-\277]/, "") } length($0) > 120 { print NR ": " length($0) " columns" } END { if (NR > 800) print NR " lines" }' "$1"
        ;;
    *.sh | *.py | */Makefile | */.ci/run)
        head -n 2 "$1" | grep -q '^# SPDX-License-Identifier: MIT$' || echo "1: no SPDX line"
        ;;
    esac
}

for file in $files; do
    found=$(complaints "$file" || true)
    if [ -z "$found" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$found" | sed "s|^|${file#./}:|" >&2
    fi
done
twice=$(echo "$files" | grep -E '\.[ch]$' | sed 's|.*/||' | grep -vx main.c | sort | uniq -d)
if [ -n "$twice" ]; then
    failed=$((failed + 1))
    echo "file names used twice:" $twice >&2
fi
echo "style: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
