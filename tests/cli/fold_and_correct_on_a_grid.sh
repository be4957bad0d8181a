# SPDX-License-Identifier: MIT
# Folding and correction of a directory: the norms that take factors in are written with it, in the model's own type, and as
# exact as at eight bits; at four bits there is less divergence.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --chunks 24 --hessian -o stats.gguf --quiet >/dev/null
quantize() { # NAME ARG...
    name=$1
    shift
    "$HONE" quantize "$MODELS/tiny-llama" --to compressed-tensors --group 64 --calibration stats.gguf --method plain -o "$name" --quiet "$@" >"$name.shown"
    "$HONE" check "$name" >/dev/null
    "$HONE" verify "$MODELS/tiny-llama" "$name" --text text.txt --ctx 128 --chunks 4 --quiet --json "$name.v" >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' "$name.v" >"$name.kld"
}
quantize plain --bits 4
quantize both --bits 4 --fold --correct
quantize eight --bits 8 --fold
awk -v a="$(cat plain.kld)" -v b="$(cat both.kld)" -v c="$(cat eight.kld)" 'BEGIN { exit !(b > 0 && b < 0.4 * a && c > 0 && c < 1e-4) }'
grep -q 'input_layernorm.weight .*-' both.shown
"$HONE" inspect both --tensors | grep -Eq '^model.layers.0.input_layernorm.weight +bf16'
! "$HONE" diff "$MODELS/tiny-llama" both --tensor model.layers.0.input_layernorm.weight >/dev/null
