# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o out --to safetensors --shard-size 2MB --json report.json >stdout 2>err
[ ! -s err ]
grep -q '^out ' stdout
[ "$(ls out/model-*-of-*.safetensors | wc -l)" -gt 2 ]
for name in config.json generation_config.json tokenizer.json tokenizer_config.json; do
    cmp "out/$name" "$MODELS/tiny-llama/$name"
done
"$HONE" check out | grep -Eqx '[0-9]+ tensors verified'
"$HONE" inspect out | grep -Eq '^checksums +carried'
"$HONE" diff "$MODELS/tiny-llama" out >/dev/null
grep -q '"file": "model-00001-of-' report.json
[ -z "$(find . -name '*.hone-partial')" ]
# What was written is a source like any other: the same GGUF comes of it.
"$HONE" quantize "$MODELS/tiny-llama" -o a.gguf --type q4_k_m --quiet >/dev/null
mv out tiny-llama
"$HONE" quantize tiny-llama -o b.gguf --type q4_k_m --quiet >/dev/null
cmp a.gguf b.gguf
# From GGUF: the tensors under their GGUF names, without config.json.
"$HONE" convert a.gguf -o plain --to safetensors --type f16 --quiet >/dev/null
[ "$(ls plain)" = model.safetensors ]
"$HONE" check plain | grep -Eqx '[0-9]+ tensors verified'
"$HONE" inspect plain --tensors | grep -q '^blk\.0\.attn_q\.weight '
