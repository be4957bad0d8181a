# SPDX-License-Identifier: MIT
# The best search is what one gets without asking; the recipe in the file says which it was.
"$HONE" quantize "$MODELS/tiny-llama" -o default.gguf --type q4_k_m --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o best.gguf --type q4_k_m --search best --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o reference.gguf --type q4_k_m --search reference --quiet >/dev/null
cmp default.gguf best.gguf
if cmp -s best.gguf reference.gguf; then exit 9; fi
! grep -aq '"search":' best.gguf
grep -aq '"search":"reference"' reference.gguf
"$HONE" quantize "$MODELS/tiny-llama" -o full.gguf --type q4_k_m --metadata full --quiet >/dev/null
grep -aq '"search":"best"' full.gguf
