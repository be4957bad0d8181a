# SPDX-License-Identifier: MIT
# A limit on the size of files is an error, not a signal; what is there can be resumed.
"$HONE" convert "$MODELS/tiny-llama" -o right.gguf --quiet >/dev/null
code=0
(ulimit -f 1000 && exec "$HONE" convert "$MODELS/tiny-llama" -o out.gguf --quiet) 2>err || code=$?
[ "$(wc -l <err)" -eq 1 ]
grep -q '^hone: out.gguf: .*: File too large$' err
[ ! -e out.gguf ]
[ -e out.gguf.hone-partial ]
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --quiet >/dev/null
cmp out.gguf right.gguf
[ "$(echo out.gguf*)" = out.gguf ]
exit $code
