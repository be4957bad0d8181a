# SPDX-License-Identifier: MIT
"$HONE" inspect "$MODELS/tiny-llama" --cpu abacus
