# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_0 --tensor-type '(=q8_0'
