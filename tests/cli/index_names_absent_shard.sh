# SPDX-License-Identifier: MIT
mkdir model
cp "$MODELS/tiny-llama/config.json" model/
echo '{"metadata":{},"weight_map":{"model.norm.weight":"model-00001-of-00002.safetensors"}}' \
    >model/model.safetensors.index.json
"$HONE" inspect model
