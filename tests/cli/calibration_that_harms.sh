# SPDX-License-Identifier: MIT
# A calibration on a sentence: error feedback would do harm, so tensors keep plain codes, and the report says so.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 32 --chunks 1 --hessian -o stats.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method plain --calibration stats.gguf -o plain.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --calibration stats.gguf --metadata full -o auto.gguf --json auto.json >shown 2>notes
grep -q 'attn_q.weight: 32 tokens tell too little of 256 columns' notes
grep -q '^tensors  *by gptq  *of$' shown
[ "$(grep -c '"method": "plain"' auto.json)" -ge 28 ]
grep -aq '"methods":{"gptq":1,"plain":\["output.weight","blk.0.attn_q.weight"' auto.gguf
for f in plain auto; do
    "$HONE" verify "$MODELS/tiny-llama" $f.gguf --text text.txt --ctx 128 --chunks 10 --quiet --json $f.v >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.v >$f.kld
done
awk -v a="$(cat auto.kld)" -v b="$(cat plain.kld)" 'BEGIN { exit !(a > 0 && a < 1.05 * b) }'
