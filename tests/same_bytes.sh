#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: same_bytes.sh HONE...
# Every program (each from another compiler, say), thread count and CPU level must write the same bytes. Ends with
# "N passed, N failed": one comparison for each variant against the first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
model=$here/models/tiny-llama
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

levels=ref
for level in avx2 avx512; do
    "$1" inspect "$model" --cpu $level >/dev/null 2>&1 && levels="$levels $level"
done
for type in f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k_m q4_k_m q5_k_m q6_k iq4_nl iq4_xs iq3_m nvfp4 tq1_0; do
    first=
    rm -f "$work/first.gguf"
    for hone in "$@"; do
        for threads in 1 2; do
            for level in $levels; do
                out=$work/out.gguf
                [ -n "$first" ] || out=$work/first.gguf
                rm -f "$out"
                "$hone" quantize "$model" -o "$out" --type $type --threads $threads --cpu "$level" --quiet >/dev/null || true
                if [ -z "$first" ]; then
                    first=done
                elif cmp -s "$out" "$work/first.gguf"; then
                    passed=$((passed + 1))
                else
                    failed=$((failed + 1))
                    echo "FAIL $type: $hone --threads $threads --cpu $level writes other bytes than $1 --threads 1 --cpu ref"
                fi
            done
        done
    done
done
echo "same bytes: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
