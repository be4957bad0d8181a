# SPDX-License-Identifier: MIT
# Types settled by measuring leave less divergence than the mix of the same size, on text that nothing was measured on,
# and about as much as was predicted.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --hessian -o stats.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method gptq --calibration stats.gguf -o mix.gguf --quiet >/dev/null
size=$(wc -c <mix.gguf)
"$HONE" quantize "$MODELS/tiny-llama" --budget "$size" --calibration stats.gguf --text calibration.txt --ctx 128 --chunks 6 \
    -o budget.gguf --quiet --json budget.json >shown
grep -q 'predicted KLD' shown
[ "$(grep -c '<- this file' shown)" -eq 1 ]
[ "$(grep -c 'this file on the same text: KLD' shown)" -eq 1 ]
[ "$(echo budget.gguf*)" = budget.gguf ]
[ "$(wc -c <budget.gguf)" -le "$size" ]
[ "$(wc -c <budget.gguf)" -ge $((size - size / 100)) ]
"$HONE" check budget.gguf >/dev/null
grep -aq "\"budget\":{\"bytes\":$size}.*\"method\":\"auto\"" budget.gguf
for f in mix budget; do
    "$HONE" verify "$MODELS/tiny-llama" $f.gguf --text text.txt --ctx 128 --quiet --json $f.v >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.v >$f.kld
done
sed -n '/"predicted"/,/}/s/^ *"kld": \([0-9.e-]*\).*/\1/p' budget.json >predicted.kld
sed -n '/"measured"/,/}/s/^ *"kld": \([0-9.e-]*\).*/\1/p' budget.json >measured.kld
awk -v m="$(cat measured.kld)" -v p="$(cat predicted.kld)" 'BEGIN { exit !(m > 0 && m < 1.5 * p && m > p / 1.5) }'
awk -v a="$(cat budget.kld)" -v b="$(cat mix.kld)" -v p="$(cat predicted.kld)" \
    'BEGIN { exit !(a > 0 && a < 0.9 * b && a < 1.5 * p && a > p / 1.5) }'
