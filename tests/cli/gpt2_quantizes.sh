# SPDX-License-Identifier: MIT
# From the checkpoint and from its f32 file the bytes of the tensors are the same; 256 positions bound the default chunk.
"$HONE" convert "$MODELS/tiny-gpt2" -o f32.gguf --type f32 --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-gpt2" -o a.gguf --type q4_k_m --quiet >/dev/null
"$HONE" quantize f32.gguf -o b.gguf --type q4_k_m --quiet >/dev/null
"$HONE" diff a.gguf b.gguf >diff.txt
[ "$(awk 'NR > 1 && $4 != 0' diff.txt | wc -l)" -eq 0 ]
[ "$(awk 'NR > 1' diff.txt | wc -l)" -eq 52 ]
"$HONE" inspect a.gguf --tensors | grep -Eq '^blk\.0\.ffn_down\.weight +q4_k '
"$HONE" verify "$MODELS/tiny-gpt2" a.gguf --text "$MODELS/tiny-gpt2/heldout.txt" --chunks 10 --gate 'kld.mean<0.05' --json r.json \
    >/dev/null
"$HONE" perplexity a.gguf --text "$MODELS/tiny-gpt2/heldout.txt" --chunks 2 | grep -q '^tokens  *512, 254 scored'
