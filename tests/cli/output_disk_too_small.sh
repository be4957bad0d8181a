# SPDX-License-Identifier: MIT
# The disk is measured before the start: nothing is left on it.
mkdir small
mount -t tmpfs -o size=2m none small 2>/dev/null || { echo 'SKIP no right to mount a small disk'; exit 3; }
trap 'umount "$PWD/small"' EXIT
code=0
"$HONE" convert "$MODELS/tiny-llama" -o small/out.gguf 2>err || code=$?
[ "$(wc -l <err)" -eq 1 ]
grep -q '^hone: small/out.gguf: needs [0-9]* more bytes of disk, [0-9]* are free: No space left on device$' err
[ -z "$(ls small)" ]
exit $code
