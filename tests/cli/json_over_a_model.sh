# SPDX-License-Identifier: MIT
echo precious >weights.gguf
code=0
"$HONE" inspect "$MODELS/tiny-llama" --json weights.gguf || code=$?
[ "$(cat weights.gguf)" = precious ]
exit $code
