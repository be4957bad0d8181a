# SPDX-License-Identifier: MIT
[ "$(id -u)" -ne 0 ] || { echo 'SKIP root may write anywhere'; exit 3; }
mkdir closed
chmod a-w closed
code=0
"$HONE" convert "$MODELS/tiny-llama" -o closed/out.gguf 2>err || code=$?
[ "$(wc -l <err)" -eq 1 ]
grep -q '^hone: closed/out.gguf: cannot create: Permission denied$' err
exit $code
