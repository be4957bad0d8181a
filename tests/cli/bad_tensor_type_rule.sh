# SPDX-License-Identifier: MIT
"$HONE" quantize model -o out.gguf --type q4_0 --tensor-type 'attn_v'
