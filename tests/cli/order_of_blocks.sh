# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method gptq --calibration stats.gguf --order activation -o out.gguf
