# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o out --to safetensors --type f16 --dry-run --json report.json >stdout
grep -q '^model\.norm\.weight .* f16 .* model\.safetensors ' stdout
grep -q '"written": false' report.json
[ ! -e out ]
