# SPDX-License-Identifier: MIT
"$HONE" check a.gguf b.gguf
