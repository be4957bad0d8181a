# SPDX-License-Identifier: MIT
head -c 6000 "$TEXT" >text.txt
"$HONE" convert "$MODELS/tiny-llama" -o f32.gguf --type f32 >/dev/null
"$HONE" verify "$MODELS/tiny-llama" f32.gguf --text text.txt --ctx 64 --gate 'kld.mean<1e-6' \
    --gate 'top1.agreement>=0.999' --json report.json >out
grep -Eq '^PASS +kld\.mean<1e-6 ' out
grep -q '^  "pass": true$' report.json
for field in reference candidate kld top1 ppl_ratio tensors gates pass; do
    grep -q "^  \"$field\": " report.json
done
# Two chunks at least, each with its KLD.
[ "$(sed -n '/"chunks": \[/,/\]/p' report.json | grep -c '[0-9]')" -ge 2 ]
