# SPDX-License-Identifier: MIT
code=0
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q9_z 2>err || code=$?
grep -q 'unknown type "q9_z" (auto f32 ' err
[ ! -e out.gguf ]
exit $code
