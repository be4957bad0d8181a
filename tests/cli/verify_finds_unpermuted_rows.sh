# SPDX-License-Identifier: MIT
# A converter that forgets the row order of attn_q is found out: a copy in which the attn_q rows of layer 0 lie as in the checkpoint
# must fail the gate that the right file passes.
head -n 30 "$TEXT" >text.txt
"$HONE" convert "$MODELS/tiny-llama" -o right.gguf --type f32 --quiet >/dev/null
"$HONE" verify "$MODELS/tiny-llama" right.gguf --text text.txt --ctx 128 --gate 'kld.mean<1e-9' \
    --gate 'ppl_ratio.value<1.000001' --gate 'ppl_ratio.value>0.999999' >/dev/null

number() {
    sed -n "s/^ *\"$1\": \([0-9]*\),*\$/\1/p" "$MODELS/tiny-llama/config.json"
}
n_rows=$(number hidden_size) n_heads=$(number num_attention_heads)
row_nbytes=$((4 * n_rows))
offset=$("$HONE" inspect right.gguf --tensors | awk '$1 == "blk.0.attn_q.weight" { print $NF }')
tail -c +$((offset + 1)) right.gguf | head -c $((n_rows * row_nbytes)) >rows
# Row 2 i + j of a head in the file is row j * half + i of it in the checkpoint.
awk -v rows="$n_rows" -v heads="$n_heads" 'BEGIN {
    half = rows / heads / 2
    for (r = 0; r < rows; r++) { h = int(r / (2 * half)); w = r % (2 * half); print h * 2 * half + 2 * (w % half) + int(w / half) }
}' | while read -r row; do
    dd if=rows bs="$row_nbytes" skip="$row" count=1 2>/dev/null
done >unpermuted
cmp -s rows unpermuted && exit 1
cp right.gguf wrong.gguf
dd if=unpermuted of=wrong.gguf bs=1 seek="$offset" conv=notrunc 2>/dev/null

code=0
"$HONE" verify "$MODELS/tiny-llama" wrong.gguf --text text.txt --ctx 128 --gate 'kld.mean<1e-9' --gate 'ppl_ratio.value<1.02' \
    >wrong.txt || code=$?
[ $code -eq 1 ]
grep -Eq '^FAIL +kld\.mean<1e-9 ' wrong.txt
grep -Eq '^FAIL +ppl_ratio\.value<1\.02 ' wrong.txt
code=0
"$HONE" check wrong.gguf 2>check.txt >/dev/null || code=$?
[ $code -eq 1 ]
grep -q 'blk.0.attn_q.weight' check.txt
