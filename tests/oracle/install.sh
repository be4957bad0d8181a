#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: install.sh
#
# Makes the virtual environment of the comparisons, where it is not there: $HONE_ORACLE_VENV, by default under ~/.cache. That
# takes minutes, because llama-cpp-python is compiled.
set -eu
venv=${HONE_ORACLE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/hone-oracle}
python=$venv/bin/python

# The versions the comparisons were made with. GGML_NATIVE=OFF keeps the compiled code from depending on the machine that happens
# to build it; of the libraries only llama.cpp's own are needed, not those for images.
torch='torch==2.13.0'
packages='transformers==5.23.0 tokenizers==0.23.3 sentencepiece==0.2.3 safetensors==0.8.0 gguf==0.19.0 protobuf==7.36.2 numpy==2.4.6'
llama='llama-cpp-python==0.3.36'
llama_options='-DGGML_NATIVE=OFF'
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
    CMAKE_ARGS=$llama_options "$python" -m pip install --quiet "$llama"
fi
