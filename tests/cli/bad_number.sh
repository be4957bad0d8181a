# SPDX-License-Identifier: MIT
"$HONE" inspect model --threads=-3
