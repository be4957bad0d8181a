# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --type f32 --json report.json >out 2>err
[ ! -s err ]
grep -q '^out\.gguf ' out
"$HONE" check out.gguf | grep -Eqx '[0-9]+ tensors verified'
# The report and the file agree on its size.
grep -q "\"bytes\": $(wc -c <out.gguf),\$" report.json
"$HONE" inspect out.gguf | grep -Eq '^checksums +carried'
# Nothing is lost in f32.
"$HONE" diff "$MODELS/tiny-llama" out.gguf >out
[ ! -e out.gguf.hone-partial ]
