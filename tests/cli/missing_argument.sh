# SPDX-License-Identifier: MIT
"$HONE" diff a.gguf
