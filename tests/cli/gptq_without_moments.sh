# SPDX-License-Identifier: MIT
head -c 6000 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text text.txt --ctx 64 -o stats.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method gptq --calibration stats.gguf -o out.gguf
