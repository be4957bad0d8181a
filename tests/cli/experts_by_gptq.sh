# SPDX-License-Identifier: MIT
# A mixture of experts: each expert is coded by the moments of its own tokens, the same bytes whatever the threads; those
# that saw too few are named. An expert is judged with the whole model, on text that nothing was calibrated on.
head -n 400 "$MODELS/tiny-mixtral/heldout.txt" >calibration.txt
tail -n 250 "$MODELS/tiny-mixtral/heldout.txt" >text.txt
"$HONE" calibrate "$MODELS/tiny-mixtral" --text calibration.txt --ctx 128 --chunks 64 --hessian -o stats.gguf >coverage
grep -q '^experts *4 a layer, each given [0-9]* to [0-9]* tokens$' coverage
gptq="quantize $MODELS/tiny-mixtral --type q4_k_m --method gptq --calibration stats.gguf"
"$HONE" quantize "$MODELS/tiny-mixtral" --type q4_k_m --imatrix stats.gguf -o plain.gguf --quiet >/dev/null
"$HONE" $gptq -o gptq.gguf >/dev/null 2>notes
! grep -q 'expert\|without' notes
"$HONE" $gptq -o one.gguf --threads 1 --cpu ref --memory 16MiB --quiet >/dev/null
cmp gptq.gguf one.gguf
"$HONE" $gptq -o few.gguf --min-expert-tokens 100000 >/dev/null 2>notes
[ "$(grep -c 'expert [0-3] saw [0-9]* tokens, coded without error feedback' notes)" -eq 24 ]
"$HONE" check gptq.gguf >/dev/null
# Rotated, by the moments of the model as it was.
"$HONE" $gptq --rotate residual -o rotated.gguf >/dev/null 2>notes
! grep -q 'expert\|without' notes
for f in plain gptq rotated; do
    "$HONE" verify "$MODELS/tiny-mixtral" $f.gguf --text text.txt --ctx 128 --quiet --json $f.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
done
echo $(cat plain.kld gptq.kld rotated.kld)
awk -v a="$(cat gptq.kld)" -v b="$(cat plain.kld)" 'BEGIN { exit !(a > 0 && a < 0.85 * b) }'
awk -v a="$(cat rotated.kld)" -v b="$(cat gptq.kld)" 'BEGIN { exit !(a > 0 && a < 0.9 * b) }'
