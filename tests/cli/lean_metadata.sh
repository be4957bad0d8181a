# SPDX-License-Identifier: MIT
# What hone quantize adds takes no more room than what llama-quantize does for an importance matrix named imatrix.gguf of a text
# named text.txt (198 bytes), and still tells a damaged tensor; --metadata full has it all.
cp "$TEXT" text.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text text.txt --ctx 32 --chunks 8 --hessian -o imatrix.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" -o plain.gguf --type q4_0 --quiet >/dev/null
# Sizes of the JSON beside version (37), the recipe's key (31) and checksums (49).
fits() { # NAME ARG...
    name=$1
    shift
    "$HONE" quantize "$MODELS/tiny-llama" -o "$name.gguf" --type q4_0 --quiet "$@" >/dev/null
    "$HONE" check "$name.gguf" >/dev/null
    [ "$(grep -ao '{"[a-z]*":".*"}' "$name.gguf" | head -n 1 | tr -d '\n' | wc -c)" -le 81 ]
    ! grep -aq 'tensor_xxh3\|quantize.imatrix\|hone.calibration' "$name.gguf"
    [ "$(wc -c <"$name.gguf")" -le $(($(wc -c <plain.gguf) + 96)) ]
}
fits weighed --imatrix imatrix.gguf
fits both --method plain --calibration imatrix.gguf --fold --correct
fits gptq --method gptq --calibration imatrix.gguf --search reference
fits rotated --method plain --calibration imatrix.gguf --rotate heads
"$HONE" quantize "$MODELS/tiny-llama" -o full.gguf --type q4_0 --imatrix imatrix.gguf --metadata full --quiet >/dev/null
for key in hone.tensor_xxh3 hone.header_xxh3 hone.calibration.texts quantize.imatrix.file; do
    grep -aq "$key" full.gguf
done
"$HONE" diff full.gguf weighed.gguf >/dev/null
"$HONE" inspect weighed.gguf | grep -q 'carried (hone check)'
size=$(wc -c <weighed.gguf)
printf '\377\376\375' | dd of=weighed.gguf bs=1 seek=$((size - 100)) conv=notrunc 2>/dev/null
code=0
"$HONE" check weighed.gguf >/dev/null 2>err || code=$?
[ "$code" -eq 1 ]
grep -q '^hone: weighed.gguf: tensor "' err
