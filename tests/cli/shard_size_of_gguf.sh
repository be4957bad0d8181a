# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --shard-size 1MB
