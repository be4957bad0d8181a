# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-gpt2" -o f32.gguf --type f32 --quiet >/dev/null
"$HONE" check f32.gguf >/dev/null
"$HONE" verify "$MODELS/tiny-gpt2" f32.gguf --text "$MODELS/tiny-gpt2/heldout.txt" --chunks 10 --gate 'kld.mean<1e-9' \
    --gate 'top1.agreement>=1' >out
grep -Eq '^PASS +kld\.mean<1e-9 ' out
"$HONE" diff "$MODELS/tiny-gpt2" f32.gguf >diff.txt
grep -Eq '^blk\.3\.ffn_down\.weight +bf16 f32 +0 +0 +0 +0 +1\.0' diff.txt
grep -q '^only in' diff.txt && exit 1
"$HONE" tokenize "$MODELS/tiny-gpt2" "Once upon a time<|endoftext|> it's 12" >ids
"$HONE" tokenize f32.gguf "Once upon a time<|endoftext|> it's 12" | cmp - ids
