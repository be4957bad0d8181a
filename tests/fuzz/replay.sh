#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: replay.sh BUILD
# Runs the fuzz targets of a build, driven by replay.c, on their seeds. Ends with "N passed, N failed".
set -eu
cd "$(dirname "$0")/../.."
build=$1
seeds=$build/fuzz-seeds
sh tests/fuzz/make_seeds.sh "$seeds"
passed=0 failed=0
for source in tests/fuzz/fuzz_*.c; do
    target=$(basename "$source" .c)
    [ "$target" = fuzz_open ] && continue
    log=$build/tests/fuzz/$target.log
    if OMP_NUM_THREADS=1 "$build/tests/fuzz/$target" "$seeds/${target#fuzz_}"/* >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "$target: $(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        echo "$target: FAILED" >&2
        tail -n 40 "$log" >&2
    fi
done
echo "fuzz replay: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
