# SPDX-License-Identifier: MIT
# Written to, or cut short, while a run is under way: an error, and nothing is left.
. "$CASES/stopped_run.lib"
for change in touch shorten; do
    rm -rf model
    cp -r "$MODELS/tiny-llama" model
    stopped_run
    if [ $change = touch ]; then
        touch model/model-00002-of-00002.safetensors
    else
        : >model/model-00002-of-00002.safetensors
    fi
    kill -CONT "$pid"
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 2 ]
    [ "$(wc -l <err.first)" -eq 1 ]
    grep -q '^hone: model/model-00002-of-00002.safetensors: \(was changed while it was read\|.*file ends early\)' err.first
    [ "$(echo out.gguf*)" = 'out.gguf*' ]
done
