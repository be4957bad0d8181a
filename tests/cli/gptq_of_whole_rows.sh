# SPDX-License-Identifier: MIT
# Scales of whole rows, in either order of columns; the bytes do not depend on threads and the CPU.
head -n 200 "$TEXT" >calibration.txt
tail -n 200 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --chunks 16 --hessian -o stats.gguf --quiet >/dev/null
quantize() {
    "$HONE" quantize "$MODELS/tiny-llama" --to compressed-tensors --group row --quiet "$@" >/dev/null
}
gptq="--method gptq --calibration stats.gguf"
quantize -o plain
quantize $gptq --order natural -o natural
quantize $gptq -o activation
quantize $gptq --order activation --threads 1 --cpu ref -o again
quantize --sequential --text calibration.txt --ctx 128 --chunks 16 -o sequential
for f in plain natural activation sequential; do
    "$HONE" verify "$MODELS/tiny-llama" $f --text text.txt --ctx 128 --chunks 12 --quiet --json $f.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
done
echo $(cat plain.kld natural.kld activation.kld sequential.kld)
awk -v a="$(cat natural.kld)" -v b="$(cat plain.kld)" 'BEGIN { exit !(a > 0 && a < 0.8 * b) }'
for f in activation sequential; do
    awk -v a="$(cat $f.kld)" -v b="$(cat plain.kld)" 'BEGIN { exit !(a > 0 && a < 0.7 * b) }'
done
cmp activation/model.safetensors again/model.safetensors
grep -q '"order' activation/model.safetensors
! cmp -s activation/model.safetensors natural/model.safetensors
