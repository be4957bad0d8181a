# SPDX-License-Identifier: MIT
# Whatever it is called: by inode.
cp -r "$MODELS/tiny-llama" model
ln model/model-00001-of-00002.safetensors out.gguf
ln model/tokenizer.json tokenizer.gguf
ln model/config.json other.gguf.hone-partial
cat model/* | cksum >before
for out in out.gguf tokenizer.gguf model/config.json other.gguf; do
    code=0
    "$HONE" convert model -o $out --force --restart 2>err || code=$?
    [ "$code" -eq 2 ]
    grep -q '^hone: [^:]*: output is an input of this run$' err
done
cat model/* | cksum >after
cmp before after
