# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_k_m --dry-run --json plan.json >plan
[ ! -e out.gguf ]
[ ! -e out.gguf.hone-partial ]
grep -q '^token_embd\.weight ' plan
planned=$(sed -n 's/^  "bytes": \([0-9]*\),$/\1/p' plan.json)
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_k_m >/dev/null
[ "$(wc -c <out.gguf)" -eq "$planned" ]
