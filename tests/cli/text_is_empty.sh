# SPDX-License-Identifier: MIT
: >empty.txt
"$HONE" perplexity "$MODELS/tiny-llama" --text empty.txt
