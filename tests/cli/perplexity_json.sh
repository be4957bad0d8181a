# SPDX-License-Identifier: MIT
head -c 6000 "$TEXT" >text.txt
"$HONE" perplexity "$MODELS/tiny-llama" --text text.txt --ctx 64 --json report.json >out
grep -Eq '^perplexity +[0-9.]+ ± [0-9.]+$' out
for field in model tokens scored nll ppl ppl_stderr tokens_per_second; do
    grep -q "^  \"$field\": " report.json
done
# stdin is the same text.
"$HONE" perplexity "$MODELS/tiny-llama" --text - --ctx 64 --json - <text.txt | grep '"ppl": ' >ppl
grep '"ppl": ' report.json | cmp - ppl
