#!/bin/sh
# SPDX-License-Identifier: MIT
# clang-tidy (checks in .clang-tidy) and cppcheck over the sources; a finding is a failure, a missing tool is skipped.
set -eu
cd "$(dirname "$0")/.."
failed=0
sources=$(ls base/*.c formats/*.c verify/*.c quantize/*.c convert/*.c cli/*.c 2>/dev/null)
packages='zlib libxxhash jansson libpcre2-8 libutf8proc openblas'
defines='-D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DHONE_VERSION="0"'

if command -v clang-tidy >/dev/null 2>&1; then
    portable=$(echo "$sources" | grep -vE '_(avx2|avx512|neon)\.c$')
    # shellcheck disable=SC2046,SC2086 # words on purpose
    echo "$portable" | xargs -n 4 -P "$(nproc 2>/dev/null || echo 2)" sh -c \
        'clang-tidy --quiet --warnings-as-errors="*" "$@" -- -std=c11 -I. -Iinclude '"$defines $(pkg-config --cflags $packages)"' 2>/dev/null' \
        clang-tidy || failed=1
else
    echo "lint: SKIP clang-tidy is not installed"
fi
if command -v cppcheck >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingIncludeSystem -D__BYTE_ORDER__=1234 -D__ORDER_LITTLE_ENDIAN__=1234 -I. -Iinclude $defines $sources || failed=1
else
    echo "lint: SKIP cppcheck is not installed"
fi
exit $failed
