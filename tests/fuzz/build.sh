#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: build.sh [OUTDIR]
# The libFuzzer targets, with clang, in o/fuzz; run one as o/fuzz/fuzz_gguf o/fuzz/seeds/gguf. "make fuzz-replay" is the same
# targets without libFuzzer.
set -eu
cd "$(dirname "$0")/../.."
compiler=${FUZZ_CC:-clang}
out=${1:-o/fuzz}
mkdir -p "$out"
sh tests/fuzz/make_seeds.sh "$out/seeds"

packages='zlib libxxhash jansson libpcre2-8 libutf8proc openblas'
# The library with the same compiler and sanitizers; libFuzzer's own part is linked into the targets only.
flags="-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all"
make --no-print-directory -s MODE=release O="$out/lib" CC="$compiler" \
    CFLAGS="$flags -fsanitize=fuzzer-no-link,address,undefined" "$out/lib/libhone.a"

for source in tests/fuzz/fuzz_*.c; do
    target=$(basename "$source" .c)
    [ "$target" = fuzz_open ] && continue
    # shellcheck disable=SC2046,SC2086 # words on purpose
    "$compiler" -std=c11 -D_GNU_SOURCE -I. -Iinclude $flags -fsanitize=fuzzer,address,undefined -fopenmp \
        $(pkg-config --cflags $packages) -o "$out/$target" "$source" tests/fuzz/fuzz_open.c tests/support/byte_builder.c \
        tests/support/zip_builder.c "$out/lib/libhone.a" $(pkg-config --libs $packages) -lm
done
