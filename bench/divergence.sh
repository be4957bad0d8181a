#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: divergence.sh HONE MODEL...
#
# What quantized files lose beside those of llama.cpp's tools, at their size: KL divergence from the f16 original by `hone verify` and by
# llama-perplexity, for each mix of types and each ingredient, with bytes, seconds and peak memory; then how fast `hone calibrate` and
# llama-imatrix read text. Calibration and judgement use different parts of the text. MODEL: a name under HONE_MODELS or tests/models, or
# a path of a directory or GGUF file. Ratios are to the row "llama": llama-quantize with the importance matrix of llama-imatrix.
#
# LLAMA_TOOLS: the directory of llama-quantize, llama-imatrix, llama-perplexity. HONE_TEXTS: texts; HONE_TEXT: one to use instead.
# HONE_MIXES (q4_k_m q3_k_m q2_k); HONE_STEPS (all of: llama-plain llama reference plain importance gptq correct fold rotate
# sequential allocation budget all); HONE_CALIBRATION_CHUNKS (96), HONE_BUDGET_CHUNKS (8), HONE_ALL_CHUNKS (24), HONE_CHUNKS (48): chunks of
# text to calibrate, measure tensors (in step "all", to calibrate on as well) and judge on; HONE_SPEED_RUNS (3; 0: none); HONE_THREADS (2); HONE_CTX (512 or the model's length). On a machine that
# does other work, set OMP_WAIT_POLICY=passive: llama.cpp's threads spin.
set -eu
hone=$(command -v "$1") && hone=$(cd "$(dirname "$hone")" && pwd)/$(basename "$hone")
shift
here=$(cd "$(dirname "$0")/.." && pwd)
tools=${LLAMA_TOOLS:-} threads=${HONE_THREADS:-2} chunks=${HONE_CHUNKS:-48}
calibration_chunks=${HONE_CALIBRATION_CHUNKS:-96} budget_chunks=${HONE_BUDGET_CHUNKS:-8}
all_chunks=${HONE_ALL_CHUNKS:-24}
mixes=${HONE_MIXES:-q4_k_m q3_k_m q2_k}
steps=${HONE_STEPS:-llama-plain llama reference plain importance gptq correct fold rotate sequential allocation budget all}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
    echo "SKIP $*"
}

has_tool() {
    [ -n "$tools" ] && [ -x "$tools/$1" ]
}

quietly() {
    "$@" >"$work/log" 2>&1
}

# timed COMMAND...: its seconds, peak kilobytes and seconds of computing go to $work/time.
timed() {
    if [ -x /usr/bin/time ]; then
        quietly /usr/bin/time -f '%e %M %U %S' -o "$work/time" "$@"
    else
        echo 0 0 0 0 >"$work/time"
        quietly "$@"
    fi
}

# number KEY FILE: the first number of that key in JSON as hone writes it.
number() {
    awk -v key="\"$1\":" '$1 == key { print $2 + 0; exit }' "$2"
}

find_model() {
    for place in "$1" "${HONE_MODELS:-}/$1" "$here/tests/models/$1"; do
        [ ! -e "$place" ] || { echo "$place"; return; }
    done
}

# text_of SOURCE: a text for it; its own, if it has one.
text_of() {
    for text in "${HONE_TEXT:-}" "$1/heldout.txt" "$1/data.txt"; do
        [ ! -f "$text" ] || { echo "$text"; return; }
    done
    case $1 in
    */story*) echo "${HONE_TEXTS:-}/tinystories-a.txt" ;;
    *) echo "${HONE_TEXTS:-}/wikitext2-valid.txt" ;;
    esac
}

# split_text TEXT: its first 55 % and last 40 %, in whole lines.
split_text() {
    nbytes=$(wc -c <"$1")
    head -c $((nbytes * 55 / 100)) "$1" | sed '$d' >calibration.txt
    tail -c $((nbytes * 40 / 100)) "$1" | sed 1d >judgement.txt
}

# ---- one file ----

# llama_divergence FILE: its mean and standard error. The tool loses its last lines now and then, so it is asked again.
llama_divergence() {
    found=
    for _ in 1 2 3; do
        [ -z "$found" ] && has_tool llama-perplexity && [ -f base.kld ] || break
        quietly "$tools/llama-perplexity" -m "$1" -c "$ctx" --chunks "$chunks" -t "$threads" --kl-divergence-base base.kld \
            --kl-divergence || break
        found=$(awk '/Mean +KLD:/ { print $3, $5; exit }' "$work/log")
    done
    echo "${found:-- -}"
}

# measure MIX STEP FILE: a row of the table. Ratios refer to step "llama", or "reference", which has its codes.
measure() {
    "$hone" verify original.gguf "$3" --text judgement.txt --ctx "$ctx" --chunks "$chunks" --threads "$threads" --quiet --force \
        --json out.json >"$work/log" 2>&1
    sed -n '/"kld"/,$p' out.json >kld.json
    row="$1 $2 $(wc -c <"$3") $(number mean kld.json) $(number stderr kld.json) $(llama_divergence "$3")"
    case $2 in
    llama) echo "$row" >"$1.base" ;;
    reference) [ -f "$1.base" ] || echo "$row" >"$1.base" ;;
    esac
    base="$1 none 0 0 0 - -"
    [ ! -f "$1.base" ] || base=$(cat "$1.base")
    echo "$row $(cat "$work/time") $base" | awk -v model="$name" '{
        ratio = $15 > 0 ? sprintf("%.3f", $4 / $15) : "-"
        theirs = $6 == "-" ? "-" : sprintf("%.6f", $6)
        theirs_ratio = $17 > 0 && $6 != "-" ? sprintf("%.3f", $6 / $17) : "-"
        printf "%-13s %-7s %-12s %11d %11.7f %10.7f %6s %9s %9s %6s %8.1f %6d\n", model, $1, $2, $3, $4, $5, ratio, theirs, $7,
            theirs_ratio, $8, $9 / 1024 }'
}

# ---- ingredients ----

importance() {
    if [ -f llama.imatrix.gguf ]; then echo "--imatrix llama.imatrix.gguf"; else echo "--imatrix hone.imatrix.gguf"; fi
}

# ingredients STEP BYTES: what hone quantize is given; nothing where a size is wanted and there is none.
ingredients() {
    feedback="--method gptq --calibration stats.gguf"
    read="--text calibration.txt --ctx $ctx --chunks $calibration_chunks"
    measured="--text calibration.txt --ctx $ctx --chunks $budget_chunks"
    case $1 in
    reference) echo "--type $mix --search reference $(importance)" ;;
    plain) echo "--type $mix" ;;
    importance) echo "--type $mix $(importance)" ;;
    gptq) echo "--type $mix $feedback" ;;
    correct | fold) echo "--type $mix $feedback --$1" ;;
    rotate) echo "--type $mix $feedback --rotate residual" ;;
    sequential) echo "--type $mix --method gptq --sequential $read" ;;
    allocation) if [ "$2" -gt 0 ]; then echo "--budget $2 $(importance) $measured"; fi ;;
    budget) if [ "$2" -gt 0 ]; then echo "--budget $2 $feedback $measured"; fi ;;
    all) if [ "$2" -gt 0 ]; then echo "--budget $2 --calibration stats.gguf --fold --sequential --text calibration.txt --ctx $ctx --chunks $all_chunks"; fi ;;
    esac
}

llama_quantize() {
    has_tool llama-quantize || { skip "$name $mix $1: no llama-quantize"; return; }
    if [ "$1" = llama ]; then set -- "$1" --imatrix llama.imatrix.gguf; fi
    [ "$1" != llama ] || [ -f llama.imatrix.gguf ] || { skip "$name $mix $1: no llama-imatrix"; return; }
    step=$1
    shift
    if timed "$tools/llama-quantize" "$@" original.gguf out.gguf "$mix" "$threads"; then
        measure "$mix" "$step" out.gguf
    else
        skip "$name $mix $step: $(tail -n 1 "$work/log")"
    fi
}

hone_quantize() {
    budget=0
    [ ! -f "$mix.base" ] || budget=$(awk '{ print $3 }' "$mix.base")
    given=$(ingredients "$1" "$budget")
    [ -n "$given" ] || { skip "$name $mix $1: no size is given"; return; }
    # shellcheck disable=SC2086 # options are words
    if timed "$hone" quantize original.gguf -o out.gguf --force --quiet --threads "$threads" $given; then
        measure "$mix" "$1" out.gguf
    else
        skip "$name $mix $1: $(tail -n 1 "$work/log")"
    fi
}

# ---- calibration ----

# hone_calibrate RUNNER OUTPUT OPTION...
hone_calibrate() {
    runner=$1 output=$2
    shift 2
    "$runner" "$hone" calibrate original.gguf --text calibration.txt --ctx "$ctx" --chunks "$calibration_chunks" \
        --threads "$threads" --force --quiet -o "$output" "$@"
}

# llama_imatrix RUNNER OUTPUT
llama_imatrix() {
    "$1" "$tools/llama-imatrix" -m original.gguf -f calibration.txt -c "$ctx" --chunks "$calibration_chunks" -t "$threads" --no-ppl \
        --output-frequency 1000000 -o "$2"
}

calibrate() {
    hone_calibrate quietly hone.imatrix.gguf --json tokens.json
    hone_calibrate timed stats.gguf --hessian
    echo "$name: $(number tokens tokens.json) tokens in $(number chunks tokens.json) chunks of $ctx to calibrate on; second moments:" \
        "$(awk '{ printf "%.1f s, %d MiB", $1, $2 / 1024 }' "$work/time")"
    if has_tool llama-imatrix; then llama_imatrix quietly llama.imatrix.gguf; fi
    if has_tool llama-perplexity; then
        quietly "$tools/llama-perplexity" -m original.gguf -f judgement.txt -c "$ctx" --chunks "$chunks" -t "$threads" \
            --kl-divergence-base base.kld
    fi
}

# median FILE COLUMN
median() {
    sort -n -k "$2" "$1" | awk -v c="$2" '{ v[NR] = $c } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# Whole runs, turn about: seconds on the clock, and of computing, which a busy machine leaves alone.
speed() {
    runs=${HONE_SPEED_RUNS:-3}
    [ "$runs" -gt 0 ] || return 0
    has_tool llama-imatrix || { skip "$name speed: no llama-imatrix"; return; }
    rm -f hone.times llama.times
    for _ in $(seq "$runs"); do
        hone_calibrate timed speed.gguf
        awk '{ print $1, $3 + $4 }' "$work/time" >>hone.times
        llama_imatrix timed speed.gguf
        awk '{ print $1, $3 + $4 }' "$work/time" >>llama.times
    done
    tokens=$(number tokens tokens.json)
    for who in hone llama; do
        echo "$who $(median $who.times 1) $(median $who.times 2)"
    done | awk -v model="$name" -v n="$tokens" -v runs="$runs" '{ clock[$1] = $2; computing[$1] = $3 } END {
        printf "%s: hone calibrate %.0f tokens/s, llama-imatrix %.0f, ratio %.2f on the clock, %.2f by computing time (medians of %d)\n", model,
            n / clock["hone"], n / clock["llama"], clock["llama"] / clock["hone"], computing["llama"] / computing["hone"], runs }'
}

compare() {
    source=$(find_model "$1")
    name=$(basename "$1" .gguf)
    [ -n "$source" ] || { skip "$1: not found"; return; }
    text=$(text_of "$source")
    [ -f "$text" ] || { skip "$name: no text"; return; }
    rm -rf "$work/run"
    mkdir "$work/run"
    source=$(cd "$(dirname "$source")" && pwd)/$(basename "$source")
    cd "$work/run"
    case $source in
    *.gguf) ln -s "$source" original.gguf ;;
    *) "$hone" convert "$source" -o original.gguf --type f16 --quiet >"$work/log" ;;
    esac
    split_text "$text"
    length=$("$hone" inspect original.gguf --metadata --quiet | awk '$1 ~ /\.context_length$/ { print $3 }')
    ctx=${HONE_CTX:-$((length < 512 ? length : 512))}
    calibrate
    printf '%-13s %-7s %-12s %11s %11s %10s %6s %9s %9s %6s %8s %6s\n' model mix step bytes 'mean KLD' stderr ratio llama.cpp stderr \
        ratio seconds MiB
    for mix in $mixes; do
        for step in $steps; do
            case $step in
            llama*) llama_quantize "$step" ;;
            *) hone_quantize "$step" ;;
            esac
        done
    done
    speed
    cd "$here"
}

for model in "$@"; do
    compare "$model"
done
