# SPDX-License-Identifier: MIT
# The source's own directory holds weights already.
cp -r "$MODELS/tiny-llama-spm" model
chmod -R u+w model
code=0
"$HONE" convert model -o model --to safetensors --type f16 --force 2>err || code=$?
[ $code -eq 2 ]
grep -q 'output is an input of this run' err
cmp model/model.safetensors "$MODELS/tiny-llama-spm/model.safetensors"
