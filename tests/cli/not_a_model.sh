# SPDX-License-Identifier: MIT
echo 'Dear diary' >notes.safetensors
"$HONE" inspect notes.safetensors
