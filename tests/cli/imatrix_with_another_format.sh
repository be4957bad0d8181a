# SPDX-License-Identifier: MIT
# Under the best search an importance matrix has a say; by the rule of the format it has none.
. "$CASES/imatrix.lib"
{ little 1 && entry blk.0.attn_q.weight 256 "$ONE"; } >imatrix.dat
"$HONE" quantize "$MODELS/tiny-llama" -o best --to mlx --search best --imatrix imatrix.dat --json report.json >stdout
grep -q '^importance  *imatrix.dat: 1 of 1 entries' stdout
grep -q '^without importance  *model.layers.0.self_attn.k_proj.weight$' stdout
[ "$(grep -c '"entry": "used"' report.json)" -eq 1 ]
"$HONE" check best >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o out --to mlx --search reference --imatrix imatrix.dat
