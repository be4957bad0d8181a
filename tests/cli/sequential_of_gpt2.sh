# SPDX-License-Identifier: MIT
# Matrices that are stored transposed, an embedding that is the output matrix, too, and positions.
head -n 200 "$TEXT" >calibration.txt
tail -n 200 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-gpt2" --text calibration.txt --ctx 64 --hessian -o stats.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-gpt2" --type q4_0 --method gptq --calibration stats.gguf -o gptq.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-gpt2" --type q4_0 --sequential --text calibration.txt --ctx 64 -o sequential.gguf --quiet >/dev/null
for f in gptq sequential; do
    "$HONE" verify "$MODELS/tiny-gpt2" $f.gguf --text text.txt --ctx 64 --quiet --json $f.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
done
echo $(cat sequential.kld gptq.kld)
awk -v a="$(cat sequential.kld)" -v b="$(cat gptq.kld)" 'BEGIN { exit !(a > 0 && a < 0.95 * b) }'
