# SPDX-License-Identifier: MIT
# Codes on every layout of groups are read back as what they stand for: nearer than GPTQ, and the same when resumed.
head -n 200 "$TEXT" >calibration.txt
tail -n 200 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --chunks 16 --hessian -o stats.gguf --quiet >/dev/null
for to in compressed-tensors gptq awq mlx; do
    bits=3
    [ $to != awq ] || bits=4
    quantize() {
        "$HONE" quantize "$MODELS/tiny-llama" --to $to --bits $bits --group 64 --method gptq --order natural --quiet "$@" >/dev/null
    }
    quantize --calibration stats.gguf -o gptq-$to
    quantize --sequential --text calibration.txt --ctx 128 --chunks 16 --shard-size 600KB -o sequential-$to
    for f in gptq sequential; do
        "$HONE" verify "$MODELS/tiny-llama" $f-$to --text text.txt --ctx 128 --chunks 12 --quiet --json $f.json >/dev/null
        sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
    done
    echo $to $(cat sequential.kld gptq.kld)
    awk -v a="$(cat sequential.kld)" -v b="$(cat gptq.kld)" 'BEGIN { exit !(a > 0 && a < 0.95 * b) }'
done
