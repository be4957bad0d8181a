# SPDX-License-Identifier: MIT
# One flipped bit at a time, all over the file: found, and the file named on one line.
"$HONE" convert "$MODELS/tiny-llama" -o right.gguf --type q8_0 --quiet >/dev/null
"$HONE" check right.gguf >/dev/null
"$HONE" inspect right.gguf | grep -q 'carried (hone check)'
size=$(wc -c <right.gguf)
cp right.gguf out.gguf
at=0
while [ "$at" -lt "$size" ]; do
    byte=$(od -An -tu1 -j "$at" -N 1 right.gguf | tr -d ' ')
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\$(printf '%03o' $((byte ^ 1 << at % 8)))" | dd of=out.gguf bs=1 seek="$at" conv=notrunc 2>/dev/null
    code=0
    "$HONE" check out.gguf >/dev/null 2>err || code=$?
    [ "$code" -eq 1 ] || [ "$code" -eq 2 ] || { echo "byte $at: exit $code"; exit 1; }
    [ "$(wc -l <err)" -eq 1 ]
    grep -q '^hone: out.gguf: ' err
    printf "\\$(printf '%03o' "$byte")" | dd of=out.gguf bs=1 seek="$at" conv=notrunc 2>/dev/null
    # Every byte at first, then about forty more.
    [ "$at" -lt 60 ] && at=$((at + 1)) || at=$((at + size / 41))
done
"$HONE" check out.gguf >/dev/null
