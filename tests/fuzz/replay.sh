#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: replay.sh BUILD
# Runs the fuzz targets of a build, driven by replay.c, on their seeds. Ends with "N passed, N failed".
set -eu
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

# replay TARGET: prints a line "TARGET: N inputs", or "FAILED TARGET" and the end of what it wrote.
replay() {
    log=$build/tests/fuzz/$1.log
    if "$build/tests/fuzz/$1" "$build/fuzz-seeds/${1#fuzz_}"/* >"$log" 2>&1; then
        echo "$1: $(tail -n 1 "$log")"
    else
        echo "FAILED $1"
        tail -n 40 "$log" | sed 's/^/  /'
    fi
}

if [ "$1" = --target ]; then # by this script itself
    build=$2
    replay "$3"
    exit
fi
build=$1
sh tests/fuzz/make_seeds.sh "$build/fuzz-seeds"
set -- $(cd tests/fuzz && ls fuzz_*.c | sed 's/\.c$//' | grep -vx fuzz_open)
printf '%s\n' "$@" | sh tests/in_parallel.sh sh tests/fuzz/replay.sh --target "$build" | awk -v expected=$# '
    /^fuzz_/ { passed++ }
    { print; fflush() }
    END {
        print "fuzz replay: " passed + 0 " passed, " expected - passed " failed"
        exit passed < expected
    }'
