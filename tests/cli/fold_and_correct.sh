# SPDX-License-Identifier: MIT
# Calibrated on one half of the text and measured on the other, folding and correction leave less divergence in a file of the same types.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --hessian -o stats.gguf --quiet >/dev/null
quantize() { # NAME ARG...
    name=$1
    shift
    "$HONE" quantize "$MODELS/tiny-llama" --type q3_k_m --calibration stats.gguf --method plain -o "$name.gguf" --quiet "$@" >"$name.shown"
    "$HONE" check "$name.gguf" >/dev/null
    "$HONE" verify "$MODELS/tiny-llama" "$name.gguf" --text text.txt --ctx 128 --chunks 10 --quiet --json "$name.v" >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' "$name.v" >"$name.kld"
}
quantize plain
quantize fold --fold --json fold.json
quantize both --fold --correct --json both.json
awk -v a="$(cat plain.kld)" -v b="$(cat fold.kld)" -v c="$(cat both.kld)" 'BEGIN { exit !(b > 0 && b < 0.8 * a && c > 0 && c < 0.8 * a) }'
grep -q '^attn_norm.weight ' fold.shown
grep -q '^made up for by ' both.shown
grep -q '"folded_error"' fold.json
grep -q '"corrected_error"' both.json
grep -aq '{"method":"fold","texts":"' fold.gguf
grep -aq '{"method":"fold+correct","texts":"' both.gguf
! grep -aq '"method":' plain.gguf
