# SPDX-License-Identifier: MIT
code=0
"$HONE" 2>err || code=$?
grep -q '^usage: hone COMMAND' err
exit $code
