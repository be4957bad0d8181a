# SPDX-License-Identifier: MIT
# A calibration on next to nothing: most tensors keep plain codes, the report says so, and the file is no worse than without.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 4 --chunks 1 --hessian -o stats.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method plain --calibration stats.gguf -o plain.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --calibration stats.gguf -o auto.gguf --quiet --json auto.json >shown
grep -q '^tensors  *by gptq  *of$' shown
[ "$(grep -c '"method": "plain"' auto.json)" -gt 10 ]
"$HONE" inspect auto.gguf --metadata | grep -q 'methods.*plain.*blk.0'
for f in plain auto; do
    "$HONE" verify "$MODELS/tiny-llama" $f.gguf --text text.txt --ctx 128 --chunks 10 --quiet --json $f.v >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.v >$f.kld
done
awk -v a="$(cat auto.kld)" -v b="$(cat plain.kld)" 'BEGIN { exit !(a > 0 && a < 1.03 * b) }'
