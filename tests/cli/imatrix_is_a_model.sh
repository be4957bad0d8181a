# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o model.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_0 --imatrix model.gguf
