#!/bin/sh
# SPDX-License-Identifier: MIT
# Rooms include only headers of their own, of rooms to their right, and include/hone; and keep out of each other's trades.
set -eu
cd "$(dirname "$0")/.."
failed=0

complain() {
    echo "check-deps: $*" >&2
    failed=1
}

# room ALLOWED...: every #include "x/..." of a room names an allowed x.
room() {
    name=$1
    shift
    allowed=$(echo "$name $* hone" | tr ' ' '|')
    bad=$(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$name"/*.c "$name"/*.h 2>/dev/null |
        grep -vE "\"($allowed)/[^\"]*\"" || true)
    [ -z "$bad" ] || complain "include from a room that $name may not see:
$bad"
}

room cli
room convert quantize verify formats base
room quantize verify formats base
room verify formats base
room formats base
room base
bad=$(grep -nE '#[[:space:]]*include[[:space:]]*"' include/hone/*.h | grep -v '"hone/' || true)
[ -z "$bad" ] || complain "public header that includes a private one:
$bad"

library='base formats verify quantize convert'
sources=$(for r in $library; do ls "$r"/*.c "$r"/*.h; done 2>/dev/null)
bad=$(grep -nE '#[[:space:]]*pragma[[:space:]]+omp|<omp\.h>' $sources | grep -v '^base/parallel\.c:' || true)
[ -z "$bad" ] || complain "OpenMP outside base/parallel.c:
$bad"
bad=$(grep -nE '(^|[^_[:alnum:]])(printf|puts|putchar|fprintf|perror|exit|abort|_exit)[[:space:]]*\(' $sources |
    grep -vE ':[[:space:]]*(/?\*|//)' || true)
[ -z "$bad" ] || complain "the library prints or exits:
$bad"
bad=$(grep -nE '(^|[^_[:alnum:]])(malloc|calloc|realloc|strdup|strndup|aligned_alloc|posix_memalign)[[:space:]]*\(' $sources |
    grep -vE '^base/mem\.[ch]:|:[[:space:]]*(/?\*|//)' || true)
[ -z "$bad" ] || complain "heap use outside base/mem.c:
$bad"
exit $failed
