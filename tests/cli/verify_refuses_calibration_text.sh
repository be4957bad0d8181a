# SPDX-License-Identifier: MIT
# A file says which texts it was fitted to, and is not measured on them unless that is asked for.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
head -n 400 "$TEXT" | tail -n 200 >both.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 64 --hessian -o stats.gguf --quiet >/dev/null
"$HONE" calibrate "$MODELS/tiny-llama" --text text.txt --ctx 64 --hessian -o other.gguf --quiet >/dev/null
"$HONE" calibrate --merge stats.gguf --merge other.gguf -o merged.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --imatrix stats.gguf -o weighed.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q4_k_m --method gptq --calibration merged.gguf -o merged-q4.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --budget 5bpw --text text.txt --ctx 64 --chunks 50 --no-measure -o budget.gguf --quiet >/dev/null
"$HONE" convert weighed.gguf --type q8_0 -o again.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --to mlx --bits 4 --group 64 --imatrix stats.gguf -o mlx --quiet >/dev/null
refused() {
    code=0
    "$HONE" verify "$MODELS/tiny-llama" "$1" --text "$2" --ctx 64 --chunks 2 --quiet >out 2>err || code=$?
    [ "$code" -eq 2 ]
    [ "$(wc -l <err)" -eq 1 ]
    grep -q 'of the text is text that this file was calibrated on (--allow-calibration-text)' err
    [ ! -s out ]
}
refused weighed.gguf calibration.txt
refused weighed.gguf both.txt
refused again.gguf calibration.txt
refused mlx calibration.txt
refused merged-q4.gguf calibration.txt
refused merged-q4.gguf text.txt
refused budget.gguf text.txt
"$HONE" verify "$MODELS/tiny-llama" weighed.gguf --text calibration.txt --allow-calibration-text --ctx 64 --chunks 2 --quiet >out
[ -s out ]
for f in weighed.gguf again.gguf mlx; do
    "$HONE" verify "$MODELS/tiny-llama" $f --text text.txt --ctx 64 --chunks 2 --quiet >/dev/null
done
"$HONE" verify "$MODELS/tiny-llama" budget.gguf --text calibration.txt --ctx 64 --chunks 2 --quiet >/dev/null
