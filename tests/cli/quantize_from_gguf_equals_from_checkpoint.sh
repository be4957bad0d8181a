# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o f32.gguf --type f32 >/dev/null
"$HONE" quantize f32.gguf -o one.gguf --type q8_0 --pure >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o two.gguf --type q8_0 --pure >/dev/null
"$HONE" diff one.gguf two.gguf >/dev/null
