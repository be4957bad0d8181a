# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o out --to onnx
