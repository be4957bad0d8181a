# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" --budget 100KiB --text "$TEXT" --ctx 32 --chunks 1 --quiet -o out.gguf
