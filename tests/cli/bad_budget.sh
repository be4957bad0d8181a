# SPDX-License-Identifier: MIT
for budget in 4.25bits bpw -1bpw nan 0bpw infbpw 1e400bpw; do
    code=0
    "$HONE" quantize "$MODELS/tiny-llama" --budget "$budget" --text "$TEXT" -o out.gguf 2>stderr || code=$?
    [ $code -eq 2 ]
    grep -q 'is neither a size nor 4.25bpw' stderr
done
for budget in 4.25 4 1023; do
    code=0
    "$HONE" quantize "$MODELS/tiny-llama" --budget "$budget" --text "$TEXT" -o out.gguf 2>stderr || code=$?
    [ $code -eq 2 ]
    grep -q 'lacks a unit: bpw' stderr
done
for kld in 0 -1 x nan inf 1e-3x; do
    code=0
    "$HONE" quantize "$MODELS/tiny-llama" --max-kld "$kld" --text "$TEXT" -o out.gguf 2>stderr || code=$?
    [ $code -eq 2 ]
    grep -q 'is no number above 0' stderr
done
[ ! -e out.gguf ]
