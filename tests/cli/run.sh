#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: run.sh HONE [CASE...]
#
# Each case is a file tests/cli/CASE.sh, run by sh -eu in an empty directory of its own, several at a time, with
#   HONE    the program          MODELS  tests/models      TEXT  a text the model was not trained on
#   CASES   tests/cli            ./*.lib there is shell code that several cases read
# CASE.exit holds the expected exit status (0 without it); CASE.stdout and CASE.stderr, where they exist, the exact output,
# in which MODELS stands for the directory's path.
# A case that prints a line starting with SKIP is not counted. Ends with "N passed, N failed".
set -eu
CASES=$(cd "$(dirname "$0")" && pwd)
MODELS=$(cd "$CASES/../models" && pwd)
TEXT=$MODELS/tiny-llama/heldout.txt
export MODELS TEXT CASES

# run_case CASE: prints "ok CASE", or "FAIL CASE: why" and what the case wrote, or "CASE: SKIP why".
run_case() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/$1"
    code=0
    (cd "$work/$1" && exec sh -eu "$CASES/$1.sh") >"$work/stdout" 2>"$work/stderr" || code=$?
    expected=0
    [ ! -f "$CASES/$1.exit" ] || expected=$(cat "$CASES/$1.exit")
    why=
    [ "$code" = "$expected" ] || why="exit $code, expected $expected"
    for stream in stdout stderr; do
        [ -f "$CASES/$1.$stream" ] || continue
        sed "s|$MODELS|MODELS|g" "$work/$stream" | cmp -s "$CASES/$1.$stream" - || why="${why:+$why; }$stream differs from $1.$stream"
    done
    if [ -n "$why" ]; then
        echo "FAIL $1: $why"
        sed 's/^/  stdout: /' "$work/stdout" | tail -n 20
        sed 's/^/  stderr: /' "$work/stderr" | tail -n 20
    elif grep -q '^SKIP' "$work/stdout"; then
        echo "$1: $(grep -m 1 '^SKIP' "$work/stdout")"
    else
        echo "ok $1"
    fi
}

if [ "$1" = --case ]; then # by this script itself
    run_case "$2"
    exit
fi
HONE=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
export HONE
shift
unset HONE_CPU || true
[ $# -gt 0 ] || set -- $(cd "$CASES" && ls *.sh | sed 's/\.sh$//' | grep -vx run)
printf '%s\n' "$@" | sh "$CASES/../in_parallel.sh" sh "$CASES/run.sh" --case | awk -v expected=$# '
    /^ok / { passed++; next }
    /^FAIL / { failed++ }
    /^[^ ]*: SKIP/ { skipped++ }
    { print; fflush() }
    END {
        missing = expected - passed - failed - skipped
        if (missing)
            print "cli: " missing " did not end"
        if (skipped)
            print "cli: " skipped " skipped"
        print "cli: " passed + 0 " passed, " failed + missing " failed"
        exit failed + missing > 0
    }'
