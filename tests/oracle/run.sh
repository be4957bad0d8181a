#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: run.sh BUILD [check_NAME.py...]
#
# Runs tests/oracle/check_*.py, which compare hone with the reference packages, on the program and library in BUILD, several at
# a time. install.sh makes the virtual environment they need. Ends with "N passed, N failed" over all scripts.
set -eu
cd "$(dirname "$0")/../.."
venv=${HONE_ORACLE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/hone-oracle}

# check SCRIPT: what it prints, and a last line "SCRIPT: N passed, N failed".
check() {
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    code=0
    "$venv/bin/python" "tests/oracle/$1" --lib "$build/libhone.so" --hone "$build/hone" >"$log" 2>&1 || code=$?
    counts=$(grep -E '[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1 | grep -oE '[0-9]+ passed, [0-9]+ failed$' |
        sed 's/ passed, / /; s/ failed$//')
    good=${counts% *} bad=${counts#* }
    [ -n "$counts" ] || good=0 bad=0
    # A script that ends badly has failed, whatever it managed to count.
    [ "$code" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    echo "== $1"
    cat "$log"
    echo "$1: $good passed, $bad failed"
}

if [ "$1" = --script ]; then # by this script itself
    build=$2
    check "$3"
    exit
fi
build=$1
shift
sh tests/oracle/install.sh
# The slowest first.
slow='check_calibration.py check_tokenizers.py check_quantizer.py check_blocks.py'
[ $# -gt 0 ] || set -- $slow $(cd tests/oracle && ls check_*.py | grep -vwF "$(printf '%s\n' $slow)")
# Scripts side by side instead of threads side by side, unless they say otherwise.
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
printf '%s\n' "$@" | sh tests/in_parallel.sh sh tests/oracle/run.sh --script "$build" | awk -v expected=$# '
    { print; fflush() }
    match($0, /^check_[a-z_]*\.py: [0-9]+ passed, [0-9]+ failed$/) {
        split($0, word, " ")
        passed += word[2]
        failed += word[4]
        ended++
    }
    END {
        failed += expected - ended # scripts
        print "oracle: " passed + 0 " passed, " failed + 0 " failed"
        exit failed > 0
    }'
