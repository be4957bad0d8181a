# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q2_k_s
