# SPDX-License-Identifier: MIT
echo precious >out.gguf
code=0
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf || code=$?
[ "$(cat out.gguf)" = precious ]
exit $code
