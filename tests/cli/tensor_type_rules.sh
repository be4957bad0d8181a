# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_0 --pure --tensor-type 'ffn_down=q8_0' \
    --tensor-type '^token_embd=f16' --quiet >/dev/null
"$HONE" inspect out.gguf --tensors >out
grep -Eq '^blk\.0\.ffn_down\.weight +q8_0 ' out
grep -Eq '^token_embd\.weight +f16 ' out
grep -Eq '^blk\.0\.attn_q\.weight +q4_0 ' out
