#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: big_checkpoint.sh HONE [DIRECTORY]
#
# Memory and time on checkpoints far larger than the budget; not part of CI. In DIRECTORY (default: the system's for
# temporary files), which needs 16 GB free, it makes two LLaMA checkpoints of holes, which take no disk: one of 44 GB in 10
# shards, planned with --dry-run, and one of 8 GB, with an embedding of 1 GB, converted to q8_0 under two budgets. Peak
# resident memory must stay below --memory + 64 MiB. cp of the 8 GB is timed for
# comparison, without and with waiting for the disk, as hone does. Everything is removed.
# Ends with "N passed, N failed".
set -eu
here=$(cd "$(dirname "$0")" && pwd)
HONE=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
work=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/hone-big.XXXXXX")
trap 'rm -rf "$work"' EXIT
free=$(df -Pk "$work" | awk 'NR == 2 { print int($4 / 1000000) }')
[ "$free" -ge 16 ] || { echo "SKIP: 16 GB of disk are needed, $free are free"; exit 0; }
export OMP_WAIT_POLICY=passive # or the program starts itself twice
for tool in make_checkpoint run_measured; do
    cc -std=c11 -D_GNU_SOURCE -O2 -o "$work/$tool" "$here/tools/$tool.c"
done
cd "$work"
passed=0 failed=0

# measure MIB COMMAND...: prints time and peak; more than MIB + 64 MiB is a failure, 0 sets no limit.
measure() {
    limit=$1
    shift
    code=0
    "$work/run_measured" "$@" >stdout 2>measured || code=$?
    tail -n 1 measured | {
        read -r seconds kib
        echo "$seconds s, peak $((kib / 1024)) MiB: $(basename "$1") $(shift && echo "$*")"
    }
    kib=$(tail -n 1 measured | cut -d ' ' -f 2)
    if [ "$code" -ne 0 ]; then
        cat measured
        failed=$((failed + 1))
    elif [ "$limit" -gt 0 ] && [ "$((kib / 1024))" -ge "$((limit + 64))" ]; then
        echo "more than $limit + 64 MiB"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

mkdir big model
./make_checkpoint big 10 23 8192 28672 128256 bf16 0
echo "$(stat -c %s big/*.safetensors | awk "{ n += \$1 } END { printf \"%.0f\", n }") bytes in $(ls big/*.safetensors | wc -l) shards, $(du -sk big | cut -f 1) KiB of disk"
measure 512 "$HONE" quantize big -o big.gguf --type q4_k_m --dry-run
tail -n 5 stdout
rm -r big

./make_checkpoint model 4 14 4096 14336 128256 f16 0
echo "$(stat -c %s model/*.safetensors | awk "{ n += \$1 } END { printf \"%.0f\", n }") bytes in $(ls model/*.safetensors | wc -l) shards"
measure 512 "$HONE" convert model -o out.gguf --type q8_0
tail -n 1 stdout
measure 0 "$HONE" check out.gguf
mv out.gguf first.gguf
measure 32 "$HONE" convert model -o out.gguf --type q8_0 --memory 32MiB --threads 8
cmp out.gguf first.gguf && passed=$((passed + 1)) || failed=$((failed + 1))
rm -f out.gguf first.gguf
measure 0 cp -r --sparse=never model copy
rm -r copy
measure 0 sh -c 'cp -r --sparse=never model copy && sync copy/*'
echo "big_checkpoint: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
