# SPDX-License-Identifier: MIT
. "$CASES/stopped_run.lib"
killed_run
touch model/model-00001-of-00002.safetensors
code=0
"$HONE" convert model -o out.gguf 2>err || code=$?
[ "$(wc -l <err)" -eq 1 ]
grep -q 'a changed source is in the way (--restart discards it)$' err
[ -e out.gguf.hone-partial ]
"$HONE" convert model -o out.gguf --restart --quiet >/dev/null
cmp out.gguf right.gguf
[ "$(echo out.gguf*)" = out.gguf ]
exit $code
