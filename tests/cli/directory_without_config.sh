# SPDX-License-Identifier: MIT
mkdir model
"$HONE" inspect model
