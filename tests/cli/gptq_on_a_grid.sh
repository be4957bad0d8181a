# SPDX-License-Identifier: MIT
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --hessian -o stats.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --to compressed-tensors --symmetric -o plain --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --to compressed-tensors --symmetric --method gptq --calibration stats.gguf -o gptq --quiet \
    >/dev/null
for f in plain gptq; do
    "$HONE" verify "$MODELS/tiny-llama" $f --text text.txt --ctx 128 --quiet --json $f.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
done
awk -v a="$(cat gptq.kld)" -v b="$(cat plain.kld)" 'BEGIN { exit !(a > 0 && a < 0.8 * b) }'
