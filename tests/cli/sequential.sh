# SPDX-License-Identifier: MIT
# Calibrated behind what is already coded, the result is nearer to the original, from either kind of source; the bytes are
# the same whatever the threads, the memory, and whether the run was killed and taken up. The recipe tells.
head -n 300 "$TEXT" >calibration.txt
tail -n 300 "$TEXT" >text.txt
sequential() {
    echo quantize "$1" --type q2_k --sequential --text calibration.txt --ctx 128 --chunks 48 -o "$2"
}
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 128 --chunks 48 --hessian -o stats.gguf --quiet >/dev/null
"$HONE" quantize "$MODELS/tiny-llama" --type q2_k --method gptq --calibration stats.gguf -o gptq.gguf --quiet >/dev/null
"$HONE" convert "$MODELS/tiny-llama" --type f32 -o source.gguf --quiet >/dev/null
cp -r "$MODELS/tiny-llama" model
"$HONE" $(sequential model hf.gguf) --quiet >/dev/null
"$HONE" $(sequential source.gguf from_gguf.gguf) --quiet >/dev/null
grep -aq '"method":"gptq+sequential"' hf.gguf
for f in gptq hf from_gguf; do
    "$HONE" verify model $f.gguf --text text.txt --ctx 128 --chunks 16 --quiet --json $f.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
done
echo $(cat gptq.kld hf.kld from_gguf.kld)
awk -v a="$(cat hf.kld)" -v b="$(cat gptq.kld)" 'BEGIN { exit !(a > 0 && a < 0.9 * b) }'
awk -v a="$(cat from_gguf.kld)" -v b="$(cat gptq.kld)" 'BEGIN { exit !(a > 0 && a < 0.9 * b) }'
# Killed once some tensors are there.
tries=0 resumed=0
while [ "$resumed" -eq 0 ] && [ "$tries" -lt 20 ]; do
    tries=$((tries + 1))
    rm -f killed.gguf*
    "$HONE" $(sequential model killed.gguf) --memory 12MiB --threads 1 >/dev/null 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null && [ "$(cat killed.gguf.hone-journal 2>/dev/null | wc -c)" -lt 160 ]; do :; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    [ -e killed.gguf.hone-partial ] || continue
    "$HONE" $(sequential model killed.gguf) --memory 12MiB --threads 1 >/dev/null 2>err
    ! grep -q 'resuming: [1-9]' err || resumed=1
    cmp hf.gguf killed.gguf
done
[ "$resumed" -eq 1 ]
