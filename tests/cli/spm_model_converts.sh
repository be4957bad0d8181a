# SPDX-License-Identifier: MIT
[ -f "$MODELS/tiny-llama-spm/config.json" ] || { echo 'SKIP no tiny-llama-spm'; exit 0; }
"$HONE" convert "$MODELS/tiny-llama-spm" -o out.gguf --type f16 >/dev/null
"$HONE" check out.gguf >/dev/null
"$HONE" tokenize "$MODELS/tiny-llama-spm" 'Once upon a time' >ids
"$HONE" tokenize out.gguf 'Once upon a time' | cmp - ids
