# SPDX-License-Identifier: MIT
# A file under a budget stays within it, whatever else is asked for and has to be told in its metadata.
head -n 200 "$TEXT" >calibration.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 64 --chunks 16 --hessian -o stats.gguf --quiet >/dev/null
for more in "--sequential" "--correct"; do
    "$HONE" quantize "$MODELS/tiny-llama" --budget 1600032 --calibration stats.gguf $more --text calibration.txt --ctx 64 --chunks 2 \
        --no-measure -o out.gguf --force --quiet >/dev/null
    [ "$(wc -c <out.gguf)" -le 1600032 ]
    [ "$(wc -c <out.gguf)" -ge 1590000 ]
    "$HONE" check out.gguf >/dev/null
done
