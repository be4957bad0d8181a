#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: kld_table.sh HONE [TYPE...]
#
# TYPE is one of GGUF's; mix:NAME for llama.cpp's choice of types, such as mix:q3_k_m; or, for a directory of quantized safetensors,
# FORMAT:BITS:GROUP, such as gptq:4:128.
#
# What the searches are worth in a model: KL divergence of each model, quantized to each type with each search, from the original.
# Models are the embedded ones and those of HONE_MODELS that hone can run; HONE_TEXTS has texts for the latter (a model's
# heldout.txt or data.txt goes first). HONE_SEARCHES: the searches to compare with the first one (default: reference best).
# HONE_CHUNKS: chunks of text per measurement (default 20). The ratio's standard error comes from the chunks, each with both
# searches' KLD: what a chunk adds to both cancels. HONE_IMPORTANCE=1: with an importance matrix from the last third of each text; the rest is
# measured. The last lines give each model's geometric mean over the types.
set -eu
hone=$1
shift
here=$(cd "$(dirname "$0")/.." && pwd)
searches=${HONE_SEARCHES:-reference best}
chunks=${HONE_CHUNKS:-20}
[ $# -gt 0 ] || set -- q2_k q3_k q4_k q5_k q6_k q4_0 q4_1 q5_0 q5_1 iq4_nl iq4_xs iq3_s mxfp4 nvfp4 \
    compressed-tensors:4:128 gptq:3:64 awq:4:128 mlx:4:64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# text_of MODEL: a text that the model was not quantized with.
text_of() {
    for text in "$1/heldout.txt" "$1/data.txt"; do
        [ ! -f "$text" ] || { echo "$text"; return; }
    done
    case $1 in
    */story*) echo "${HONE_TEXTS:-}/tinystories-a.txt" ;;
    *) echo "${HONE_TEXTS:-}/wikitext2-valid.txt" ;;
    esac
}

# measure MODEL TEXT TYPE SEARCH: prints "MEAN STDERR CHUNK,CHUNK,...", or nothing when no matrix of the model can have that type.
measure() {
    rm -rf "$work/out"
    case $3 in
    *:*:*)
        bits=${3#*:}
        "$hone" quantize "$1" -o "$work/out" --to "${3%%:*}" --bits "${bits%:*}" --group "${bits#*:}" --search "$4" --quiet \
            >"$work/log" 2>&1 || return 0
        ;;
    mix:*)
        # shellcheck disable=SC2086 # options are words
        "$hone" quantize "$1" -o "$work/out" --type "${3#*:}" --search "$4" $weighed --quiet >"$work/log" 2>&1 || return 0
        ;;
    *)
        # shellcheck disable=SC2086 # options are words
        "$hone" quantize "$1" -o "$work/out" --type f16 --pure --tensor-type ".*=$3" --search "$4" $weighed --quiet \
            >"$work/log" 2>&1 || return 0
        "$hone" inspect "$work/out" --tensors --quiet | grep -q " $3 " || return 0
        ;;
    esac
    "$hone" verify "$1" "$work/out" --text "$2" --chunks "$chunks" --quiet --force --json "$work/out.json" >"$work/log" 2>&1
    awk '/"kld": / { inside = 1 } inside && /"mean"/ { mean = $2 } inside && /"stderr"/ { error = $2 }
        inside && /"chunks"/ { listing = 1; next } listing && /\]/ { print mean + 0, error + 0, list; exit }
        listing { sub(/,$/, ""); list = list (list == "" ? "" : ",") $1 }' "$work/out.json"
}

# ratio_of FIRST OTHER, both as measure prints them: prints "RATIO STDERR". With chunks a and b and R = sum b / sum a, the error
# is that of the mean of b - R a, over the mean of a.
ratio_of() {
    awk -v a="${1##* }" -v b="${2##* }" 'BEGIN {
        n = split(a, x, ","); split(b, y, ",")
        for (i = 1; i <= n; i++) { sx += x[i]; sy += y[i] }
        for (i = 1; i <= n; i++) squares += (y[i] - sy / sx * x[i]) ^ 2
        print sy / sx, (n > 1 ? sqrt(squares * n / (n - 1)) / sx : 0) }'
}

printf '%-14s %-23s %-10s %12s %11s %8s %7s\n' model type search 'mean KLD' stderr ratio stderr
for model in "$here"/tests/models/*/ ${HONE_MODELS:+"$HONE_MODELS"/*/}; do
    model=${model%/}
    text=$(text_of "$model")
    [ -f "$text" ] && "$hone" perplexity "$model" --text "$text" --chunks 1 --quiet >/dev/null 2>&1 || continue
    weighed=
    if [ -n "${HONE_IMPORTANCE:-}" ]; then
        tail -c $(($(wc -c <"$text") / 3)) "$text" | sed 1d >"$work/last_third.txt"
        "$hone" calibrate "$model" --text "$work/last_third.txt" --chunks 64 -o "$work/importance" --quiet --force >"$work/log" 2>&1
        weighed="--imatrix $work/importance"
        head -c $(($(wc -c <"$text") * 3 / 5)) "$text" | sed '$d' >"$work/rest.txt"
        text=$work/rest.txt
    fi
    for type in "$@"; do
        first=
        for search in $searches; do
            result=$(measure "$model" "$text" "$type" "$search")
            [ -n "$result" ] || break
            [ -n "$first" ] || first=$result
            echo "$(basename "$model") $type $search ${result% *} $(ratio_of "$first" "$result")" | tee -a "$work/all" | awk '{
                printf "%-14s %-23s %-10s %12.8f %11.8f %8.4f %7.4f\n", $1, $2, $3, $4, $5, $6, $7 }'
        done
    done
done
awk '{ key = $1 " " $3; if (!(key in n)) keys[++k] = key; n[key]++; sum[key] += log($6) }
    END { for (i = 1; i <= k; i++) { split(keys[i], part, " ");
        printf "%-14s %-23s %-10s %12s %11s %8.4f\n", part[1], "mean", part[2], "", "", exp(sum[keys[i]] / n[keys[i]]) } }' "$work/all"
