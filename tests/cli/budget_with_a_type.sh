# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" --budget 4.25bpw --text "$TEXT" --type q4_k_m -o out.gguf
