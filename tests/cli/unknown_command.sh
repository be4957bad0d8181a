# SPDX-License-Identifier: MIT
"$HONE" quantise model -o out.gguf --type q4_0
