# SPDX-License-Identifier: MIT
# How tensors are measured for a budget is chosen or named, and shown; so are the types to choose from.
quantize() {
    "$HONE" quantize "$MODELS/tiny-llama" --text "$TEXT" --ctx 32 --chunks 2 --search fast --no-measure --force -o out.gguf "$@"
}
head -n 60 "$TEXT" >calibration.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 32 --chunks 8 -o stats --quiet >/dev/null
quantize --max-kld 0.01 >shown 2>notes
grep -q '^probe: exact$' shown
grep -q 'measuring 30 tensors, 30 of them to the end of the model: about ' notes
quantize --budget 4bpw --probe fast --budget-types q6_k,Q3_K --json out.json >shown 2>notes
grep -q '^probe: fast$' shown
grep -q '"probe": "fast"' out.json
[ "$(grep -c '"inferred": true' out.json)" -eq 14 ]
grep -q 'measuring 30 tensors, 16 of them to the end' notes
! grep -q '"type": "q4_k"' out.json
quantize --budget 2.8bpw --probe fast --budget-types all --search reference --imatrix stats >shown 2>notes
grep -q 'iq2_' shown
refused() {
    why=$1
    shift
    code=0
    quantize "$@" 2>stderr || code=$?
    [ $code -eq 2 ]
    grep -q "$why" stderr
}
refused 'unknown probe "slow"' --budget 4bpw --probe slow
refused '"q9_k" is no type' --budget 4bpw --budget-types q4_k,q9_k,q6_k
refused '"" is no type' --budget 4bpw --budget-types q4_k,
refused 'i32 is no type that can be chosen' --budget 4bpw --budget-types i32
code=0
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k --probe fast -o out.gguf 2>stderr || code=$?
[ $code -eq 2 ]
grep -q 'budget-types go with --budget or --max-kld' stderr
