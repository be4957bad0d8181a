# SPDX-License-Identifier: MIT
# Equal importance is not none: another search. What has no entry, or only zeros, is named.
. "$CASES/imatrix.lib"
{
    little 3
    entry blk.0.attn_q.weight 256 "$ONE"
    entry blk.1.attn_q.weight 256 "$ZERO"
    entry blk.99.attn_q.weight 256 "$ONE"
    little 12
    little 8 && printf text.txt
} >imatrix.dat
"$HONE" quantize "$MODELS/tiny-llama" -o plain.gguf --type q4_0 --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_0 --imatrix imatrix.dat --metadata full --json report.json >stdout 2>err
[ ! -s err ]
code=0
"$HONE" diff plain.gguf out.gguf >diff || code=$?
[ "$code" -eq 1 ]
"$HONE" diff plain.gguf out.gguf --tensor blk.0.attn_k.weight >/dev/null
grep -q '^importance  *imatrix.dat: 2 of 3 entries are for tensors of this model$' stdout
grep -q '^without importance  *blk.0.attn_k.weight$' stdout
grep -q '^zero importance  *blk.1.attn_q.weight: 256 columns$' stdout
! grep -q '^without importance  *blk.0.attn_q.weight$' stdout
"$HONE" inspect out.gguf --metadata >metadata
grep -Eq '^quantize.imatrix.file +string +"?imatrix.dat' metadata
grep -Eq '^quantize.imatrix.dataset +string +"?text.txt' metadata
grep -Eq '^quantize.imatrix.entries_count +u32 +3$' metadata
grep -Eq '^quantize.imatrix.chunks_count +u32 +12$' metadata
grep -q '"entries_of_no_tensor": 1' report.json
grep -q '"zero_columns": 256' report.json
[ "$(grep -c '"entry": "used"' report.json)" -eq 2 ]
"$HONE" check out.gguf >/dev/null
