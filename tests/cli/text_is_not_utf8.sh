# SPDX-License-Identifier: MIT
printf 'good \377 bad' >text.txt
"$HONE" perplexity "$MODELS/tiny-llama" --text text.txt
