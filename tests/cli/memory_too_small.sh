# SPDX-License-Identifier: MIT
code=0
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --memory 1000 2>err || code=$?
[ "$(wc -l <err)" -eq 1 ]
grep -q 'one row needs [0-9]* bytes of working memory, the budget is 1000 (--memory)' err
[ "$(echo *)" = err ]
exit $code
