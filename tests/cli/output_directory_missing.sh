# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o nowhere/out.gguf
