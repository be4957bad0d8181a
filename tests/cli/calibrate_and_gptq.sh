# SPDX-License-Identifier: MIT
# Calibrated on one half of the text and measured on the other, error feedback is nearer to the original.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --hessian -o stats.gguf --quiet >coverage
grep -q '^weights  *30, 30 with second moments' coverage
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m -o plain.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method gptq --calibration stats.gguf -o gptq.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method gptq --calibration stats.gguf -o one.gguf --threads 1 --cpu ref \
    --quiet >/dev/null
cmp gptq.gguf one.gguf
"$HONE" check gptq.gguf >/dev/null
for f in plain gptq; do
    "$HONE" verify "$MODELS/tiny-llama" $f.gguf --text text.txt --ctx 128 --quiet --json $f.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
done
awk -v a="$(cat gptq.kld)" -v b="$(cat plain.kld)" 'BEGIN { exit !(a > 0 && a < 0.8 * b) }'
# The same text twice, merged, has the same means, of twice as many tokens.
"$HONE" calibrate --merge stats.gguf --merge stats.gguf -o twice.gguf --quiet | grep -q '^tokens'
for f in stats twice; do
    "$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method plain --calibration $f.gguf -o $f.plain --quiet >/dev/null
done
"$HONE" diff stats.plain twice.plain | awk 'NR > 1 && $4 != 0 { bad = 1 } END { exit bad }'
