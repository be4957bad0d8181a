# SPDX-License-Identifier: MIT
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --type f16 >/dev/null
size=$(wc -c <out.gguf)
at=$((size - 100))
byte=$(tail -c +$((at + 1)) out.gguf | head -c 1 | od -An -tu1 | tr -d ' ')
# shellcheck disable=SC2059 # the format is the byte
printf "\\$(printf '%03o' $((byte ^ 1)))" | dd of=out.gguf bs=1 seek="$at" conv=notrunc 2>/dev/null
code=0
"$HONE" check out.gguf 2>err || code=$?
[ "$(wc -l <err)" -eq 1 ]
grep -q '^hone: out.gguf: tensor "' err
exit $code
