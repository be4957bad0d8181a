# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" --to gptq --order natural -o out
