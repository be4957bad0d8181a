# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" -o out --to mlx --imatrix imatrix.dat
