# SPDX-License-Identifier: MIT
# The best search is what one gets without asking; the recipe in the file says which it was.
"$HONE" quantize "$MODELS/tiny-llama" -o default.gguf --type q4_k_m --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o best.gguf --type q4_k_m --search best --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o reference.gguf --type q4_k_m --search reference --quiet >/dev/null
cmp default.gguf best.gguf
if cmp -s best.gguf reference.gguf; then exit 9; fi
for search in best reference; do
    grep -aq "\"search\":\"$search\"" $search.gguf
done
