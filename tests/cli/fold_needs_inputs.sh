# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --fold -o out.gguf
