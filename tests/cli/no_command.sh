# SPDX-License-Identifier: MIT
"$HONE"
