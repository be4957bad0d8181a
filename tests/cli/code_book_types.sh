# SPDX-License-Identifier: MIT
# Types with code books: with importance all of them, the fewer bits the smaller and the farther from the original; the same
# bytes whatever the CPU; a rule with one of them; without importance refused, but for those that do without.
"$HONE" calibrate "$MODELS/tiny-llama" --text "$TEXT" --ctx 128 -o stats.gguf --quiet >/dev/null
last=0 last_size=999999999
for type in iq3_m iq2_m iq2_xxs iq1_s; do
    "$HONE" quantize "$MODELS/tiny-llama" -o $type.gguf --type $type --imatrix stats.gguf --json $type.json --quiet >/dev/null
    "$HONE" check $type.gguf >/dev/null
    error=$(sed -n '/"total"/,$s/^ *"relative_rmse": \([0-9.e-]*\).*/\1/p' $type.json | head -n 1)
    size=$(wc -c <$type.gguf)
    awk -v a="$error" -v b="$last" 'BEGIN { exit !(a > b) }'
    [ "$size" -lt "$last_size" ]
    last=$error last_size=$size
done
"$HONE" quantize "$MODELS/tiny-llama" -o ref.gguf --type iq2_m --imatrix stats.gguf --cpu ref --threads 1 --quiet >/dev/null
cmp iq2_m.gguf ref.gguf
"$HONE" inspect iq2_xxs.gguf --tensors >tensors
grep -q ' iq2_xxs ' tensors
"$HONE" quantize "$MODELS/tiny-llama" -o rule.gguf --type q4_0 --tensor-type 'ffn_up=iq3_s' --quiet >/dev/null
"$HONE" inspect rule.gguf --tensors >tensors
[ "$(grep -c 'ffn_up.* iq3_s ' tensors)" -eq 4 ]
for type in iq3_xs iq3_xxs iq2_m iq2_s iq2_xs iq2_xxs iq1_m iq1_s; do
    code=0
    "$HONE" quantize "$MODELS/tiny-llama" -o no.gguf --type $type 2>err || code=$?
    [ "$code" -eq 2 ]
    [ "$(wc -l <err)" -eq 1 ]
    grep -Eq ': tensor "blk\.0\.[a-z_]+\.weight": iq[123]_[a-z]+ needs an importance matrix \(--imatrix FILE\)$' err
    [ ! -e no.gguf ]
done
