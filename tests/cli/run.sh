#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: run.sh HONE [CASE...]
#
# Each case is a file tests/cli/CASE.sh, run by sh -eu in an empty directory of its own with
#   HONE    the program          MODELS  tests/models      TEXT  a text the model was not trained on
#   CASES   tests/cli            ./*.lib there is shell code that several cases read
# CASE.exit holds the expected exit status (0 without it); CASE.stdout and CASE.stderr, where they exist, the exact output,
# in which MODELS stands for the directory's path.
# A case that prints a line starting with SKIP is not counted. Ends with "N passed, N failed".
set -eu
here=$(cd "$(dirname "$0")" && pwd)
HONE=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
MODELS=$here/../models
MODELS=$(cd "$MODELS" && pwd)
TEXT=$MODELS/tiny-llama/heldout.txt
CASES=$here
export HONE MODELS TEXT CASES
unset HONE_CPU || true
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

[ $# -gt 0 ] || set -- $(cd "$here" && ls *.sh | sed 's/\.sh$//' | grep -vx run)
for case in "$@"; do
    mkdir "$work/$case"
    code=0
    (cd "$work/$case" && exec sh -eu "$here/$case.sh") >"$work/stdout" 2>"$work/stderr" || code=$?
    expected=0
    [ ! -f "$here/$case.exit" ] || expected=$(cat "$here/$case.exit")
    why=
    [ "$code" = "$expected" ] || why="exit $code, expected $expected"
    for stream in stdout stderr; do
        [ -f "$here/$case.$stream" ] || continue
        sed "s|$MODELS|MODELS|g" "$work/$stream" | cmp -s "$here/$case.$stream" - || why="${why:+$why; }$stream differs from $case.$stream"
    done
    if [ -n "$why" ]; then
        failed=$((failed + 1))
        echo "FAIL $case: $why"
        sed 's/^/  stdout: /' "$work/stdout" | tail -n 20
        sed 's/^/  stderr: /' "$work/stderr" | tail -n 20
    elif grep -q '^SKIP' "$work/stdout"; then
        skipped=$((skipped + 1))
        echo "$case: $(grep -m 1 '^SKIP' "$work/stdout")"
    else
        passed=$((passed + 1))
    fi
    rm -rf "${work:?}/$case"
done
[ "$skipped" -eq 0 ] || echo "cli: $skipped skipped"
echo "cli: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
