# SPDX-License-Identifier: MIT
. "$CASES/imatrix.lib"
{ little 2 && entry a 1 "$ONE" && entry blk.0.attn_q.weight 1 "$NAN"; } >imatrix.dat
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_0 --imatrix imatrix.dat
