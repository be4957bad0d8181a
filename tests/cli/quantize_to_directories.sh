# SPDX-License-Identifier: MIT
# Every layout of quantized safetensors, with both searches: the best one comes nearer to the original.
for to in compressed-tensors gptq awq mlx; do
    for search in best reference; do
        "$HONE" quantize "$MODELS/tiny-llama" -o $to-$search --to $to --search $search --quiet >/dev/null
        "$HONE" check $to-$search --quiet >/dev/null
        "$HONE" verify "$MODELS/tiny-llama" $to-$search --text "$MODELS/tiny-llama/heldout.txt" --chunks 2 --quiet \
            --json $to-$search.json --gate 'kld.mean<0.1' >/dev/null
        kld=$(awk '/"kld"/ { inside = 1 } inside && /"mean"/ { print $2 + 0; exit }' $to-$search.json)
        eval "$search=$kld"
    done
    awk -v best="$best" -v reference="$reference" 'BEGIN { exit !(best < reference) }'
done
