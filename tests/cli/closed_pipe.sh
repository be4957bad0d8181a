# SPDX-License-Identifier: MIT
# The reader is gone before anything is written.
mkfifo pipe
: <pipe &
exec 4>pipe
wait
"$HONE" inspect "$MODELS/tiny-llama" >&4
