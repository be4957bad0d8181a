# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q9_z
