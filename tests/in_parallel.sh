#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: in_parallel.sh COMMAND... <NAMES
#
# Runs COMMAND NAME for each line of standard input, $HONE_JOBS of them at a time (one for each processor), started in their
# order. What a run wrote is shown when it and those before it have ended. Exit 1 when a run failed.
set -eu
# nproc would heed OMP_NUM_THREADS.
jobs=${HONE_JOBS:-$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/names"
# The exit status under a name of its own first: the file is complete when it is seen.
# shellcheck disable=SC2016 # the inner shell's variables
{
    xargs -P "$jobs" -I '{}' sh -c '
        out=$1 code=0
        shift
        "$@" >"$out.out" 2>&1 </dev/null || code=$?
        echo "$code" >"$out.new"
        mv "$out.new" "$out.code"' sh "$work/{}" "$@" '{}' <"$work/names" || true
    : >"$work/ended"
} &
failed=0
while read -r name; do
    while [ ! -f "$work/$name.code" ]; do
        sleep 0.05
        [ ! -f "$work/ended" ] || [ -f "$work/$name.code" ] || { echo "in_parallel: $name did not end"; exit 1; }
    done
    cat "$work/$name.out"
    [ "$(cat "$work/$name.code")" -eq 0 ] || failed=1
done <"$work/names"
wait
exit "$failed"
