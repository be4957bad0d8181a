# SPDX-License-Identifier: MIT
"$HONE" --version | grep -Eqx 'hone [0-9]+\.[0-9]+\.[0-9]+'
