# SPDX-License-Identifier: MIT
head -c 6000 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --rotate heads --text text.txt --ctx 64 --hessian -o stats.gguf --quiet >/dev/null
code=0
"$HONE" quantize "$MODELS/tiny-llama" --type q4_0 --imatrix stats.gguf -o out.gguf 2>message || code=$?
[ "$code" = 2 ]
grep -q 'stats.gguf: was made of this model under another rotation' message
code=0
"$HONE" calibrate "$MODELS/tiny-llama" --text text.txt --ctx 64 --hessian -o other.gguf --quiet >/dev/null
"$HONE" calibrate --merge stats.gguf --merge other.gguf -o both.gguf 2>message || code=$?
[ "$code" = 2 ]
grep -q 'is not that of the first file' message
"$HONE" quantize "$MODELS/tiny-llama" --rotate residual --type q4_0 --method gptq --calibration stats.gguf -o out.gguf
