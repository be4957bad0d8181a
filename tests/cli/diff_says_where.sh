# SPDX-License-Identifier: MIT
"$HONE" quantize "$MODELS/tiny-llama" -o q4.gguf --type q4_0 --quiet >/dev/null
code=0
"$HONE" diff "$MODELS/tiny-llama" q4.gguf --json report.json >out || code=$?
grep -Eq '^blk\.0\.attn_q\.weight +(f32|f16|bf16) q4_0 ' out
grep -q '"equal": false' report.json
"$HONE" diff q4.gguf q4.gguf >/dev/null
exit $code
