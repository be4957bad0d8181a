# SPDX-License-Identifier: MIT
"$HONE" tokenize "$MODELS/tiny-llama" 'Once upon a time' >ids
grep -Eqx '[0-9]+( [0-9]+)*' ids
printf 'Once upon a time' >text.txt
"$HONE" tokenize "$MODELS/tiny-llama" --text text.txt | cmp - ids
"$HONE" tokenize "$MODELS/tiny-llama" 'Once upon a time' --json report.json >/dev/null
grep -q '"pieces": \[' report.json
# The converted file carries the same tokenizer.
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --type q8_0 >/dev/null
"$HONE" tokenize out.gguf 'Once upon a time' | cmp - ids
