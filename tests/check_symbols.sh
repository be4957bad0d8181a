#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: check_symbols.sh LIBHONE.SO LIBHONE.A
# The shared library exports what the public headers declare and nothing else; the static one defines hone_ names only.
set -eu
cd "$(dirname "$0")/.."
shared=$1 static=$2 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

nm -D --defined-only "$shared" | awk '$2 ~ /[TDBRVW]/ { print $3 }' | sort -u >"$work/exported"
# A declaration may span lines: the name is what stands before the first parenthesis after HONE_API.
cat include/hone/*.h | tr '\n' ' ' | grep -oE 'HONE_API [^;(]*\(' | grep -oE 'hone_[a-z0-9_]+[[:space:]]*\($' |
    tr -d '( ' | sort -u >"$work/declared"

report() {
    [ -s "$work/bad" ] || return 0
    echo "check-symbols: $1:" >&2
    sed 's/^/  /' "$work/bad" >&2
    failed=1
}

comm -23 "$work/exported" "$work/declared" >"$work/bad"
report "exported and not in a public header"
comm -13 "$work/exported" "$work/declared" >"$work/bad"
report "in a public header and not exported"
# Sanitizers and coverage add names of their own.
nm -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | grep -vE '^(hone_|__(asan|ubsan|tsan|gcov|llvm|odr)|_?_?gcov)' |
    sort -u >"$work/bad" || true
report "defined by the static library without the prefix hone_"
[ -s "$work/declared" ] || { echo "check-symbols: no declarations found" >&2; failed=1; }
exit $failed
