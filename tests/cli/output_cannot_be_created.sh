# SPDX-License-Identifier: MIT
# Nobody can create files there, not even root.
[ -d /proc/self ] || { echo 'SKIP no /proc'; exit 3; }
"$HONE" convert "$MODELS/tiny-llama" -o /proc/self/out.gguf
