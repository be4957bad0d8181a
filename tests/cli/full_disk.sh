# SPDX-License-Identifier: MIT
[ -c /dev/full ] || { echo 'SKIP no /dev/full'; exit 3; }
"$HONE" inspect "$MODELS/tiny-llama" --tensors >/dev/full
