#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: kill_loop.sh HONE [N]
#
# Quantizes a generated checkpoint, killed (SIGKILL) at random moments and started again with the same command until it
# finishes, over and over until N kills (100) have hit; every finished file must equal that of an undisturbed run.
# KILL_LOOP_SEED chooses the moments. Ends with "N passed, N failed": a check for each finished file, and the last one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
HONE=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
wanted=${2:-100}
seed=${KILL_LOOP_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
echo "kill_loop: seed $seed"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive # or the program starts itself twice
cc -std=c11 -D_GNU_SOURCE -O2 -o "$work/make_checkpoint" "$here/tools/make_checkpoint.c"
mkdir "$work/model"
"$work/make_checkpoint" "$work/model" 3 6 1024 2816 8192 bf16 7
cd "$work"

quantize() {
    "$HONE" quantize model -o "$1" --type q4_k_m --threads 2 --quiet
}

started=$(date +%s%N)
quantize undisturbed.gguf >/dev/null
duration=$(($(date +%s%N) - started))
echo "kill_loop: undisturbed $((duration / 1000000)) ms"

# Moments from the very start to half of a whole run, many of them early: a restarted run has less left to do.
awk -v seed="$seed" -v n=$((20 * wanted)) -v whole="$duration" '
    BEGIN { srand(seed); for (i = 0; i < n; i++) { r = rand(); printf "%.4f\n", whole / 1e9 * 0.5 * r * r } }' >moments
kills=0 starts=0 passed=0 failed=0 resumed=0
exec 3<moments
while [ "$kills" -lt "$wanted" ] || [ ! -f out.gguf ]; do
    if [ "$kills" -lt "$wanted" ]; then
        read -r moment <&3 || { echo "kill_loop: out of moments"; failed=$((failed + 1)); break; }
    else
        moment=1000
    fi
    starts=$((starts + 1))
    "$HONE" quantize model -o out.gguf --type q4_k_m --threads 2 >stdout 2>stderr &
    pid=$!
    if [ "$moment" != 1000 ]; then
        sleep "$moment"
        kill -9 "$pid" 2>/dev/null || true
    fi
    code=0
    wait "$pid" 2>/dev/null || code=$?
    ! grep -q '^hone: note: resuming\|resuming: ' stderr || resumed=$((resumed + 1))
    if [ "$code" -eq 137 ]; then
        kills=$((kills + 1))
    elif [ "$code" -ne 0 ]; then
        echo "kill_loop: start $starts: exit $code: $(cat stderr)"
        failed=$((failed + 1))
        break
    fi
    # A run killed after it gave the file its name has finished.
    if [ -f out.gguf ]; then
        if cmp out.gguf undisturbed.gguf; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
        fi
        if [ "$code" -eq 0 ] && ls out.gguf.hone-* >/dev/null 2>&1; then
            echo "kill_loop: left behind: $(ls out.gguf.hone-*)"
            failed=$((failed + 1))
        fi
        [ "$kills" -ge "$wanted" ] || rm -f out.gguf
    fi
done
echo "kill_loop: $kills kills in $starts starts, $resumed of them resumed, $passed files finished"
[ "$kills" -ge "$wanted" ] || failed=$((failed + 1))
echo "kill_loop: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
