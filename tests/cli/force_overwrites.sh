# SPDX-License-Identifier: MIT
echo old >out.gguf
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --type q8_0 --force >/dev/null
"$HONE" check out.gguf
