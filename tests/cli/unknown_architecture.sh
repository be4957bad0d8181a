# SPDX-License-Identifier: MIT
mkdir model
ln -s "$MODELS"/tiny-llama/*.safetensors* "$MODELS"/tiny-llama/tokenizer.json model/
sed 's/LlamaForCausalLM/ParrotForCausalLM/' "$MODELS/tiny-llama/config.json" >model/config.json
"$HONE" convert model -o out.gguf
