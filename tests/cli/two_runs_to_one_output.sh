# SPDX-License-Identifier: MIT
. "$CASES/stopped_run.lib"
cp -r "$MODELS/tiny-llama" model
"$HONE" convert model -o right.gguf --quiet >/dev/null
stopped_run
code=0
"$HONE" convert model -o out.gguf 2>err || code=$?
[ "$(cat err)" = 'hone: out.gguf: another run is writing this output' ]
"$HONE" convert model -o out.gguf --restart 2>err && exit 1
kill -CONT "$pid"
wait "$pid"
cmp out.gguf right.gguf
[ "$(echo out.gguf*)" = out.gguf ]
exit $code
