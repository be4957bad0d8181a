# SPDX-License-Identifier: MIT
# The configuration's n_inner contradicts the matrices: both the converter and verify say so, and nothing is written.
cp -r "$MODELS/tiny-gpt2" model
sed 's/"n_inner": 256/"n_inner": null/' "$MODELS/tiny-gpt2/config.json" >model/config.json
code=0
"$HONE" convert model -o out.gguf --type f16 2>err || code=$?
[ $code -eq 2 ]
grep -q 'tensor "transformer.h.0.mlp.c_fc.weight": has shape \[128, 256\], the configuration says \[128, 512\]' err
[ ! -e out.gguf ]
code=0
"$HONE" perplexity model --text model/heldout.txt 2>err || code=$?
[ $code -eq 2 ]
grep -q 'transformer.h.0.mlp.c_fc.weight' err
exit $code
