# SPDX-License-Identifier: MIT
# Each in one line, and nothing is written.
refused() {
    reason=$1
    shift
    code=0
    "$HONE" "$@" -o out.gguf >out 2>message || code=$?
    [ "$code" = 2 ]
    [ ! -e out.gguf ]
    grep -q "$reason" message
}
refused 'no rotation "sideways"' convert "$MODELS/tiny-llama" --rotate sideways
refused 'no rotation "heads:4"' convert "$MODELS/tiny-llama" --rotate heads:4
refused 'residual stream of this model: its norms take the mean off' convert "$MODELS/tiny-gpt2" --rotate residual
refused 'embedding and output are one matrix' convert "$MODELS/tiny-llama-spm" --rotate residual
refused 'goes with --calibration STATS' quantize "$MODELS/tiny-llama" --type q4_0 --rotate auto
"$HONE" convert "$MODELS/tiny-llama" --rotate heads -o rotated.gguf --quiet >/dev/null
refused 'is rotated already (heads)' convert rotated.gguf --rotate residual
# What cannot be rotated is left out of all.
"$HONE" convert "$MODELS/tiny-gpt2" --rotate all -o some.gguf >/dev/null 2>notes
grep -q 'note: the residual stream not rotated' notes
