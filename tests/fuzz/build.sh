#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: build.sh [fuzz | replay] [OUTDIR]
# fuzz (default): the libFuzzer targets, with clang, in o/fuzz; run one as o/fuzz/fuzz_gguf o/fuzz/seeds/gguf.
# replay: the same targets driven by replay.c, with $CC and sanitizers, and run on the seeds; ends with "N passed, N failed".
set -eu
cd "$(dirname "$0")/../.."
what=${1:-fuzz}
case $what in
fuzz) compiler=${FUZZ_CC:-clang} sanitize=fuzzer,address,undefined ;;
replay) compiler=${CC:-cc} sanitize=address,undefined ;;
*) echo "usage: build.sh [fuzz | replay] [OUTDIR]" >&2; exit 2 ;;
esac
out=${2:-o/$what}
mkdir -p "$out"
sh tests/fuzz/make_seeds.sh "$out/seeds"

packages='zlib libxxhash jansson libpcre2-8 libutf8proc openblas'
# The library with the same compiler and sanitizers; libFuzzer's own part is linked into the targets only.
flags="-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all"
case $what in
fuzz) library_flags="$flags -fsanitize=fuzzer-no-link,address,undefined" ;;
replay) library_flags="$flags -fsanitize=$sanitize" ;;
esac
make --no-print-directory -s MODE=release O="$out/lib" CC="$compiler" CFLAGS="$library_flags" "$out/lib/libhone.a"

passed=0 failed=0
for source in tests/fuzz/fuzz_*.c; do
    target=$(basename "$source" .c)
    [ "$target" = fuzz_open ] && continue
    driver=
    [ "$what" = replay ] && driver=tests/fuzz/replay.c
    # shellcheck disable=SC2046,SC2086 # words on purpose
    "$compiler" -std=c11 -D_GNU_SOURCE -I. -Iinclude $flags -fsanitize="$sanitize" -fopenmp \
        $(pkg-config --cflags $packages) -o "$out/$target" "$source" tests/fuzz/fuzz_open.c $driver "$out/lib/libhone.a" \
        $(pkg-config --libs $packages) -lm
    [ "$what" = fuzz ] && continue
    if "$out/$target" "$out/seeds/${target#fuzz_}"/* >"$out/$target.log" 2>&1; then
        passed=$((passed + 1))
        echo "$target: $(tail -n 1 "$out/$target.log")"
    else
        failed=$((failed + 1))
        echo "$target: FAILED" >&2
        tail -n 40 "$out/$target.log" >&2
    fi
done
[ "$what" = fuzz ] && exit 0
echo "fuzz replay: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
