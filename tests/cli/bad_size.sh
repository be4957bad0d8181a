# SPDX-License-Identifier: MIT
"$HONE" inspect model --memory 12parsecs
