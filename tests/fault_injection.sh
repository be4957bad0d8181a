#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: fault_injection.sh HONE [STRIDE]
#
# Runs a small conversion with one system call or allocation of it going wrong, the first, the second, and so on until
# there is no further one (from the 40th on in steps of STRIDE, 1 by default). After each: success, or exit 3 with one line
# on standard error and no output under its final name; and the same command then ends with the right bytes. The same for
# SIGKILL before and after each call, for interrupted and short transfers, and for hone check. Under a sanitizer's build a
# leak changes the exit status; such a build wants verify_asan_link_order=0 in ASAN_OPTIONS.
# Ends with "N passed, N failed".
set -eu
here=$(cd "$(dirname "$0")" && pwd)
HONE=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
stride=${2:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive # or the program starts itself twice
cc -std=gnu11 -D_GNU_SOURCE -O2 -shared -fPIC -o "$work/shim.so" "$here/tools/fault_shim.c" -ldl
cd "$work"
"$HONE" convert "$here/models/tiny-llama" -o source.gguf --type f16 --quiet >/dev/null
passed=0 failed=0

complain() {
    echo "fault_injection: $label: $*"
    sed 's/^/    /' stderr
    bad=1
}

convert() {
    "$HONE" convert "$source" -o out.gguf --type q8_0 --threads 2 --quiet >stdout 2>stderr
}

# What must hold whatever went wrong. Expected: "any", "success" or "kill".
judge() {
    expected=$1 bad=0
    case $code in
    0) [ -f out.gguf ] || complain "success without an output" ;;
    3)
        # OpenMP's runtime has its own words, two lines of them, before it leaves.
        [ "$(wc -l <stderr)" -eq 1 ] && grep -q '^hone: ' stderr || grep -q '^libgomp: ' stderr ||
            complain "not one line on standard error"
        ;;
    137) [ "$expected" = kill ] || complain "killed" ;;
    *) complain "exit $code" ;;
    esac
    [ "$expected" != kill ] || [ "$code" -eq 137 ] || complain "exit $code, not killed"
    [ "$expected" != success ] || [ "$code" -eq 0 ] || complain "exit $code, not success"
    case "$call $code" in
    "pwrite 3" | "fsync 3" | "rename 3")
        [ -f out.gguf ] || [ -f out.gguf.hone-partial ] || complain "the partial file is gone" ;;
    esac
    if [ -f out.gguf ]; then
        cmp -s out.gguf "$right" || complain "an output that is not complete"
    else
        again=0
        convert || again=$?
        [ "$again" -eq 0 ] || complain "exit $again when started again"
        cmp -s out.gguf "$right" || complain "other bytes when started again"
        ! ls out.gguf.hone-* >/dev/null 2>&1 || complain "left behind: $(ls out.gguf.hone-*)"
    fi
    [ "$bad" -eq 0 ] && passed=$((passed + 1)) || failed=$((failed + 1))
}

# each CALL EXPECTED VARIABLE=VALUE...: every call in turn, until there is none left to go wrong.
each() {
    call=$1 expected_of_all=$2 n=1
    shift 2
    while :; do
        label="$call $n $*"
        rm -f out.gguf out.gguf.hone-* hit
        code=0
        # A shell of its own, whose word "Killed" goes nowhere.
        (env FAULT_CALL="$call" FAULT_N="$n" FAULT_LOG=hit "$@" LD_PRELOAD="$work/shim.so" \
            "$HONE" convert "$source" -o out.gguf --type q8_0 --threads 2 --quiet >stdout 2>stderr
            exit $?) 2>/dev/null || code=$?
        if [ ! -f hit ]; then
            judge success
            break
        fi
        judge "$expected_of_all"
        [ "$n" -lt 40 ] && n=$((n + 1)) || n=$((n + stride))
    done
}

# each_check CALL: the same for hone check, whose input is the right output.
each_check() {
    call=$1 n=1
    while :; do
        label="check: $call $n" bad=0 code=0
        rm -f hit
        env FAULT_CALL="$call" FAULT_N="$n" FAULT_LOG=hit LD_PRELOAD="$work/shim.so" "$HONE" check "$right" --quiet \
            >stdout 2>stderr || code=$?
        if [ "$code" -eq 3 ]; then
            [ "$(wc -l <stderr)" -eq 1 ] || grep -q '^libgomp: ' stderr || complain "not one line on standard error"
        elif [ "$code" -ne 0 ]; then
            complain "exit $code"
        fi
        [ "$bad" -eq 0 ] && passed=$((passed + 1)) || failed=$((failed + 1))
        [ -f hit ] || break
        [ "$n" -lt 40 ] && n=$((n + 1)) || n=$((n + stride))
    done
}

begin() {
    source=$1 right=$2
    rm -f out.gguf out.gguf.hone-*
    convert
    mv out.gguf "$right"
}

begin source.gguf right.gguf
for call in open fstat pread pwrite fsync ftruncate fallocate flock rename; do
    each $call any FAULT_ERRNO=5 # EIO
done
each open any FAULT_ERRNO=24  # EMFILE
each open any FAULT_ERRNO=13  # EACCES
for call in pwrite fsync ftruncate fallocate; do
    each $call any FAULT_ERRNO=28  # ENOSPC
    each $call any FAULT_ERRNO=122 # EDQUOT
    each $call any FAULT_ERRNO=27  # EFBIG
done
for call in pread pwrite; do
    each $call success FAULT_ERRNO=4 # EINTR
    each $call success FAULT_SHORT=1
done
for when in before after; do
    for call in open pwrite fsync ftruncate fallocate flock rename; do
        each $call kill FAULT_KILL=$when
    done
done
each malloc any FAULT_ERRNO=12
each_check pread
each_check malloc

# Many more allocations, most of them alike: JSON.
begin "$here/models/tiny-llama" right-dir.gguf
stride=$((stride * 97))
each malloc any FAULT_ERRNO=12

echo "fault_injection: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
