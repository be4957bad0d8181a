# SPDX-License-Identifier: MIT
"$HONE" check "$MODELS/tiny-llama"
