# SPDX-License-Identifier: MIT
# A mixture of experts calibrated behind what is coded: each expert by itself, the same bytes whatever the threads and the
# memory, and when a killed run is taken up; those that see too few tokens are named, and what they lose shows.
head -n 400 "$MODELS/tiny-mixtral/heldout.txt" >calibration.txt
tail -n 150 "$MODELS/tiny-mixtral/heldout.txt" >text.txt
sequential="quantize $MODELS/tiny-mixtral --type q2_k --sequential --text calibration.txt --ctx 64"
"$HONE" $sequential --chunks 72 -o all.gguf >/dev/null 2>notes
! grep -q 'expert\|without' notes
"$HONE" check all.gguf >/dev/null
"$HONE" $sequential --chunks 72 -o few.gguf --min-expert-tokens 100000 >/dev/null 2>notes
[ "$(grep -c 'expert [0-3] saw [0-9]* tokens, coded without error feedback' notes)" -eq 24 ]
for f in all few; do
    "$HONE" verify "$MODELS/tiny-mixtral" $f.gguf --text text.txt --ctx 128 --chunks 24 --quiet --json $f.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
done
echo $(cat all.kld few.kld)
awk -v a="$(cat all.kld)" -v b="$(cat few.kld)" 'BEGIN { exit !(a > 0 && a < 0.9 * b) }'
"$HONE" $sequential --chunks 8 -o short.gguf --quiet >/dev/null
# A budget that sums up two experts at a time; killed once some of them are there.
slow="$sequential --chunks 8 --memory 5MiB --threads 1 -o killed.gguf"
tries=0 resumed=0
while [ "$resumed" -eq 0 ] && [ "$tries" -lt 20 ]; do
    tries=$((tries + 1))
    rm -f killed.gguf*
    "$HONE" $slow >/dev/null 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null && [ "$(cat killed.gguf.hone-journal 2>/dev/null | wc -c)" -lt 200 ]; do :; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    [ -e killed.gguf.hone-partial ] || continue
    "$HONE" $slow >/dev/null 2>err
    ! grep -q 'resuming: [1-9]' err || resumed=1
    cmp short.gguf killed.gguf
done
[ "$resumed" -eq 1 ]
# On a grid, where each expert is a weight of its own.
grid="quantize $MODELS/tiny-mixtral --to compressed-tensors --bits 3 --group 64 --sequential --text calibration.txt --ctx 64 --chunks 40"
"$HONE" $grid -o all >/dev/null 2>notes
! grep -q 'expert [0-9]\|without' notes
"$HONE" $grid -o few --min-expert-tokens 100000 >/dev/null 2>notes
[ "$(grep -c 'experts.[0-3].w[123].weight_packed: expert [0-3] saw [0-9]* tokens, coded without' notes)" -eq 24 ]
for f in all few; do
    "$HONE" verify "$MODELS/tiny-mixtral" $f --text text.txt --ctx 128 --chunks 24 --quiet --json $f.json >/dev/null
    sed -n '/"kld"/,/}/s/^ *"mean": \([0-9.e-]*\).*/\1/p' $f.json >$f.kld
done
echo $(cat all.kld few.kld)
awk -v a="$(cat all.kld)" -v b="$(cat few.kld)" 'BEGIN { exit !(a > 0 && a < 0.9 * b) }'
