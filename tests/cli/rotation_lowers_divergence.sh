# SPDX-License-Identifier: MIT
# Outliers of tiny-llama's residual stream are gone when it is rotated; --rotate auto finds that out, and one
# calibration of the model as it is serves every rotation.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --hessian -o stats.gguf --quiet >/dev/null
"$HONE" calibrate "$MODELS/tiny-llama" --rotate residual --text calibration.txt --ctx 128 --hessian -o rotated-stats.gguf \
    --quiet >/dev/null
gptq() {
    out=$1 stats=$2
    shift 2
    "$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method gptq --calibration $stats -o $out.gguf --quiet "$@" >/dev/null
    "$HONE" verify "$MODELS/tiny-llama" $out.gguf --text text.txt --ctx 128 --quiet --json $out.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $out.json >$out.kld
}
gptq plain stats.gguf
gptq turned stats.gguf --rotate residual
gptq rotated rotated-stats.gguf --rotate residual
awk -v p="$(cat plain.kld)" -v t="$(cat turned.kld)" -v r="$(cat rotated.kld)" \
    'BEGIN { exit !(t > 0 && t < 0.8 * p && r / t > 0.9 && r / t < 1.1) }'
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --rotate auto --calibration stats.gguf -o auto.gguf --quiet \
    --json auto.json >auto.txt
grep -q '^chosen: residual' auto.txt
grep -q '^ *"what": "residual' auto.json
grep -aq '"rotation":"residual' auto.gguf
