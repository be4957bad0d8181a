# SPDX-License-Identifier: MIT
"$HONE" verify "$MODELS/tiny-llama" "$MODELS/tiny-llama" --text nope.txt
