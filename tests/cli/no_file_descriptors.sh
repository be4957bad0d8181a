# SPDX-License-Identifier: MIT
# Two shards and one descriptor to open them with.
code=0
(ulimit -n 4 && exec "$HONE" convert "$MODELS/tiny-llama" -o out.gguf --quiet) 2>err || code=$?
[ "$(wc -l <err)" -eq 1 ]
grep -q '^hone: .*: cannot open: Too many open files$' err
[ "$(echo *)" = err ]
exit $code
