# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" --budget 4.25bpw -o out.gguf
