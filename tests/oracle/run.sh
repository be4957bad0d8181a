#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: run.sh BUILD [check_NAME.py...]
#
# Runs tests/oracle/check_*.py, which compare hone with the reference packages, on the program and library in BUILD. The packages
# live in a virtual environment outside the tree, made on first use: $HONE_ORACLE_VENV, by default under ~/.cache. That
# takes minutes, because llama-cpp-python is compiled. Ends with "N passed, N failed" over all scripts.
set -eu
cd "$(dirname "$0")/../.."
build=$1
shift
venv=${HONE_ORACLE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/hone-oracle}
python=$venv/bin/python

# The versions the comparisons were made with. GGML_NATIVE=OFF keeps the compiled code from depending on the machine that happens
# to build it.
torch='torch==2.13.0'
packages='transformers==5.23.0 tokenizers==0.23.3 sentencepiece==0.2.3 safetensors==0.8.0 gguf==0.19.0 protobuf==7.36.2 numpy==2.4.6'
llama='llama-cpp-python==0.3.36'
# The tools that write quantized checkpoints; without them check_unquantize.py skips their formats.
quantizers='bitsandbytes==0.50.2 compressed-tensors==0.20.0 loguru==0.7.3 mlx-cpu==0.32.4 mlx==0.32.4 psutil==7.2.2'

has() {
    "$python" -c "import importlib.util, sys; sys.exit(any(importlib.util.find_spec(m) is None for m in sys.argv[1:]))" "$@"
}

if [ ! -x "$python" ]; then
    echo "oracle: making $venv" >&2
    "${PYTHON:-python3}" -m venv "$venv"
fi
# torch first: it decides which numpy and protobuf the others may have.
has torch || "$python" -m pip install --quiet "$torch"
# shellcheck disable=SC2086 # words on purpose
has transformers tokenizers sentencepiece safetensors gguf google.protobuf numpy ||
    "$python" -m pip install --quiet $packages
# shellcheck disable=SC2086 # words on purpose; without dependencies, which are here already or are of no use on a CPU
has compressed_tensors mlx bitsandbytes ||
    "$python" -m pip install --quiet --no-deps $quantizers || echo "oracle: no $quantizers" >&2
if ! has llama_cpp; then
    echo "oracle: compiling $llama, which takes some minutes" >&2
    CMAKE_ARGS='-DGGML_NATIVE=OFF' "$python" -m pip install --quiet "$llama"
fi

[ $# -gt 0 ] || set -- $(cd tests/oracle && ls check_*.py)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0
for script in "$@"; do
    echo "== $script"
    code=0
    "$python" "tests/oracle/$script" --lib "$build/libhone.so" --hone "$build/hone" >"$log" 2>&1 || code=$?
    cat "$log"
    counts=$(grep -E '[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1 | grep -oE '[0-9]+ passed, [0-9]+ failed$' |
        sed 's/ passed, / /; s/ failed$//')
    good=${counts% *} bad=${counts#* }
    [ -n "$counts" ] || good=0 bad=0
    # A script that ends badly has failed, whatever it managed to count.
    [ "$code" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + good)) failed=$((failed + bad))
done
echo "oracle: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
