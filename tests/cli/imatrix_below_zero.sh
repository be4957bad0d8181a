# SPDX-License-Identifier: MIT
. "$CASES/imatrix.lib"
{ little 1 && entry blk.0.attn_q.weight 256 "$MINUS"; } >imatrix.dat
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_0 --imatrix imatrix.dat
