# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --type q4_k_m
