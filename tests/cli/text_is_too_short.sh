# SPDX-License-Identifier: MIT
echo 'Too short.' >text.txt
"$HONE" perplexity "$MODELS/tiny-llama" --text text.txt
