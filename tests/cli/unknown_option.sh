# SPDX-License-Identifier: MIT
"$HONE" inspect --tensor model
