#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: demo.sh HONE MODEL OUTDIR
# Converts a checkpoint directory to three GGUF files and measures each against the original on MODEL/heldout.txt.
set -eu

hone=$1 model=$2 out=$3
text=$model/heldout.txt
mkdir -p "$out"

# field FILE OBJECT NAME: a number of hone's JSON report, which has one field per line.
field() {
    sed -n "/^  \"$2\": {/,/^  }/s/^    \"$3\": \([^,]*\),*\$/\1/p" "$1"
}

# human BYTES
human() {
    awk -v n="$1" 'BEGIN { if (n < 1048576) printf "%.1f KiB", n / 1024; else printf "%.2f MiB", n / 1048576 }'
}

row() {
    printf '%-33s %10s %12s %20s %22s %12s\n' "$@"
}

# run COMMAND...: shows a command as one would type it, then runs it.
run() {
    shift
    echo "\$ hone $*"
    "$hone" "$@"
    echo
}

run hone inspect "$model"
run hone convert "$model" -o "$out/tiny-llama-f16.gguf" --type f16 --force
run hone convert "$model" -o "$out/tiny-llama-q8_0.gguf" --type q8_0 --force
run hone quantize "$model" -o "$out/tiny-llama-q4_k_m.gguf" --type q4_k_m --force
run hone quantize "$model" -o "$out/tiny-llama-q4_k_m-reference.gguf" --type q4_k_m --search reference --force
for type in f16 q8_0 q4_k_m q4_k_m-reference; do
    report=$out/verify-$type.json
    echo "\$ hone verify $model $out/tiny-llama-$type.gguf --text $text --ctx 256 --chunks 100 --json $report"
    "$hone" verify "$model" "$out/tiny-llama-$type.gguf" --text "$text" --ctx 256 --chunks 100 --json "$report" >/dev/null
done
echo
row file size bits/weight 'perplexity' 'KL divergence' 'same top-1'
report=$out/verify-f16.json
row "${model##*/} (original)" "$(human "$(field "$report" reference bytes)")" \
    "$(printf '%.2f' "$(field "$report" reference bpw)")" \
    "$(printf '%.3f +- %.3f' "$(field "$report" reference ppl)" "$(field "$report" reference ppl_stderr)")" - -
for type in f16 q8_0 q4_k_m q4_k_m-reference; do
    report=$out/verify-$type.json
    row "tiny-llama-$type.gguf" "$(human "$(field "$report" candidate bytes)")" \
        "$(printf '%.2f' "$(field "$report" candidate bpw)")" \
        "$(printf '%.3f +- %.3f' "$(field "$report" candidate ppl)" "$(field "$report" candidate ppl_stderr)")" \
        "$(printf '%.2e +- %.0e' "$(field "$report" kld mean)" "$(field "$report" kld stderr)")" \
        "$(awk -v x="$(field "$report" top1 agreement)" 'BEGIN { printf "%.2f %%", 100 * x }')"
done
echo
echo "KL divergence: mean over the scored tokens, in nats, of the candidate's prediction from the original's."
echo "reference: the codes of llama.cpp's quantizer, for comparison."
echo "Same top-1: how often both find the same token most likely. +- is one standard error."
echo "Files, which llama.cpp and what is built on it can load, and the full reports:"
for file in "$out"/tiny-llama-*.gguf "$out"/verify-*.json; do
    echo "  $file"
done
