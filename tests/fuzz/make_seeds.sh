#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: make_seeds.sh OUTDIR
# Writes small well-formed inputs, one folder per fuzz target.
set -eu
out=$1
mkdir -p "$out/safetensors" "$out/gguf" "$out/json" "$out/sentencepiece"

# byte N; little N NBYTES: an integer, least significant byte first.
byte() {
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\$(printf '%03o' "$1")"
}
little() {
    n=$1 left=$2
    while [ "$left" -gt 0 ]; do
        byte $((n % 256))
        n=$((n / 256)) left=$((left - 1))
    done
}
zeros() {
    head -c "$1" /dev/zero
}

safetensors() { # HEADER DATA_NBYTES
    little ${#1} 8
    printf '%s' "$1"
    zeros "$2"
}
safetensors '{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}' 32 \
    >"$out/safetensors/two.safetensors"
safetensors '{"__metadata__":{"format":"pt","x":"y"},"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"e":{"dtype":"F16","shape":[0,5],"data_offsets":[8,8]}}   ' 8 \
    >"$out/safetensors/metadata.safetensors"
safetensors '{}' 0 >"$out/safetensors/empty.safetensors"

string() { # GGUF string
    little ${#1} 8
    printf '%s' "$1"
}
gguf_start() { # N_TENSORS N_KEYS
    printf GGUF
    little 3 4
    little "$1" 8
    little "$2" 8
}
pad32() { # FILE
    size=$(wc -c <"$1")
    zeros $(((32 - size % 32) % 32)) >>"$1"
}
file=$out/gguf/tensors.gguf
{
    gguf_start 2 3
    string general.architecture && little 8 4 && string llama
    string general.alignment && little 4 4 && little 32 4
    string tokenizer.ggml.tokens && little 9 4 && little 8 4 && little 3 8 && string a && string bc && string ''
    string token_embd.weight && little 2 4 && little 32 8 && little 2 8 && little 8 4 && little 0 8
    string output_norm.weight && little 1 4 && little 4 8 && little 0 4 && little 96 8
} >"$file"
pad32 "$file"
zeros 128 >>"$file"
{
    gguf_start 0 8
    string a.u8 && little 0 4 && byte 1
    string a.i16 && little 3 4 && little 7 2
    string a.f32 && little 6 4 && zeros 4
    string a.bool && little 7 4 && byte 1
    string a.u64 && little 10 4 && little 9 8
    string a.f64 && little 12 4 && zeros 8
    string a.scores && little 9 4 && little 6 4 && little 2 8 && zeros 8
    string a.none && little 9 4 && little 5 4 && little 0 8
} >"$out/gguf/keys.gguf"
pad32 "$out/gguf/keys.gguf"

printf '%s' '{"architectures":["LlamaForCausalLM"],"rope_theta":1e4,"tie":false,"n":null,"s":"\u00e9\ud83d\ude00","l":[1,-2,[3.5,{}]]}' \
    >"$out/json/config.json"
printf '%s' '[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]' >"$out/json/deep.json"

# ModelProto of three pieces; every message and string here is shorter than 128 bytes, so each length is one byte.
field() { # NUMBER TEXT: a length-delimited field
    byte $(($1 * 8 + 2))
    byte ${#2}
    printf '%s' "$2"
}
piece() { # TEXT TYPE: {1 text, 2 score 0, 3 type}
    byte 10
    byte $((${#1} + 9))
    field 1 "$1"
    byte 21 && zeros 4
    byte 24 && byte "$2"
}
{
    piece '<unk>' 2
    piece '<s>' 3
    piece 'abc' 1
    # trainer_spec {3 model_type BPE, 35 byte_fallback true, 40 unk_id 0}
    byte 18 && byte 8 && byte 24 && byte 2 && little 664 1 && byte 2 && byte 1 && byte 192 && byte 2 && byte 0
    # normalizer_spec {3 add_dummy_prefix true, 4 remove_extra_whitespaces false}
    byte 26 && byte 4 && byte 24 && byte 1 && byte 32 && byte 0
} >"$out/sentencepiece/bpe.model"
