# SPDX-License-Identifier: MIT
code=0
"$HONE" perplexity "$MODELS/tiny-gpt2" --text "$MODELS/tiny-gpt2/heldout.txt" --ctx 257 2>err || code=$?
[ $code -eq 2 ]
grep -q '257 tokens; the model has 256 positions' err
exit $code
