# SPDX-License-Identifier: MIT
# A killed run is taken up by the same command, and by no other.
. "$CASES/stopped_run.lib"
killed_run
cksum <out.gguf.hone-partial >before
code=0
"$HONE" convert model -o out.gguf --type bf16 2>err || code=$?
[ "$code" -eq 2 ]
[ "$(wc -l <err)" -eq 1 ]
grep -q 'a partial file of another command .*--restart discards it' err
cksum <out.gguf.hone-partial | cmp - before
"$HONE" convert model -o out.gguf --quiet >/dev/null
cmp out.gguf right.gguf
[ "$(echo out.gguf*)" = out.gguf ]
