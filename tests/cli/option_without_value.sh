# SPDX-License-Identifier: MIT
"$HONE" convert model -o
