# SPDX-License-Identifier: MIT
"$HONE" inspect nope.safetensors
