# SPDX-License-Identifier: MIT
"$HONE" inspect "$MODELS/tiny-llama" --tensors >out
grep -Eq '^format +safetensors$' out
grep -Eq '^architecture +LlamaForCausalLM$' out
grep -Eq '^model\.norm\.weight +(f32|f16|bf16) +\[[0-9]+\] +[0-9]+ +[0-9]+( |$)' out
"$HONE" inspect "$MODELS/tiny-llama" --json report.json >out
grep -q '"architecture": "LlamaForCausalLM"' report.json
"$HONE" inspect --json=- -- "$MODELS/tiny-llama" | cmp - report.json
