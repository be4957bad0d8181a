#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: make_seeds.sh OUTDIR
# Writes small well-formed inputs, one folder per fuzz target.
set -eu
out=$1
for target in safetensors gguf imatrix json sentencepiece npy pickle pytorch pytorch_legacy zip quantized tokenizer text_marks; do
    mkdir -p "$out/$target"
done

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

file=$out/imatrix/imatrix.gguf
{
    gguf_start 2 4
    string general.type && little 8 4 && string imatrix
    string imatrix.datasets && little 9 4 && little 8 4 && little 1 8 && string a.txt
    string imatrix.chunk_count && little 4 4 && little 7 4
    string imatrix.chunk_size && little 4 4 && little 512 4
    string w.in_sum2 && little 2 4 && little 2 8 && little 3 8 && little 0 4 && little 0 8
    string w.counts && little 2 4 && little 1 8 && little 3 8 && little 0 4 && little 32 8
} >"$file"
pad32 "$file"
# 1.0 is 0x3f800000
one() {
    little 1065353216 4
}
{ one && one && one && zeros 12 && zeros 8 && one && one && zeros 4 && zeros 20; } >>"$file"
{
    little 2 4
    little 3 4 && printf 'w.a' && little 2 4 && little 2 4 && one && one
    little 1 4 && printf b && little 1 4 && little 1 4 && zeros 4
    little 5 4 && little 5 4 && printf a.txt
} >"$out/imatrix/legacy.dat"

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

# A pickled state dict: two float tensors on storage 0, one of them transposed, and a BF16 one wrapped as a Parameter on storage 1.
global() {
    printf 'c%s\n%s\n' "$1" "$2"
}
text() {
    byte 140 && byte ${#1} && printf '%s' "$1"
}
tensor() { # TYPE KEY NELEMS SHAPE STRIDES: the last two are pickle bytes of tuples
    global torch._utils _rebuild_tensor_v2
    printf '((' && text storage && global torch "$1" && text "$2" && text cpu && byte 75 && byte "$3" && printf 'tQK\000%b%b\211' "$4" "$5"
    global collections OrderedDict
    printf ')RtR'
}
state_dict() {
    printf '\200\002}('
    text w && tensor FloatStorage 0 16 'K\0002K\0002\0206' 'K\0002K\0001\0206'
    text t && tensor FloatStorage 0 16 'K\0003K\0005\0206' 'K\0001K\0003\0206'
    text p && global torch._utils _rebuild_parameter && printf '(' && tensor BFloat16Storage 1 8 'K\0010\0205' 'K\0001\0205' && printf '\210'
    global collections OrderedDict && printf ')RtR'
    printf 'u.'
}
sed_state=$out/state.tmp
state_dict >"$sed_state"
cp "$sed_state" "$out/pickle/state.pkl"
{
    printf '\200\004\225\047\000\000\000\000\000\000\000}\224(\214\005model\224}\224\214\003opt\224]\224(K\001M\000\002J\377\377\377\377\212\002\000\001G?\360\000\000\000\000\000\000NK\001\206\224\217\224(K\001K\002\220h\001eu.'
} >"$out/pickle/plain.pkl"
global torch._utils _rebuild_tensor_v3 | { printf '\200\002' && cat && printf '0N.'; } >"$out/pickle/global.pkl"
for how in 0 1 2 4 6 9; do
    { byte $how && cat "$sed_state"; } >"$out/pytorch/state$how"
done

long1() { # BYTES: LONG1 of the magic number
    printf '\200\002\212\012\154\374\234\106\371\040\152\250\120\031.'
}
{
    long1
    printf '\200\002M\351\003.'
    printf '\200\002}(U\020protocol_versionM\351\003U\015little_endian\210u.'
    cat "$sed_state"
    printf '\200\002](U\0010U\0011e.'
    little 16 8 && zeros 64 && little 8 8 && zeros 16
} >"$out/pytorch_legacy/state.pt"

npy() { # HEADER DATA_NBYTES
    printf '\223NUMPY\001\000'
    little $((${#1} + 1)) 2
    printf '%s\n' "$1"
    zeros "$2"
}
npy "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" 24 >"$out/npy/f4.npy"
npy "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 2, 2)}" 16 >"$out/npy/i2.npy"
npy "{'descr': '|b1', 'fortran_order': False, 'shape': ()}" 1 >"$out/npy/b1.npy"
{
    printf '\223NUMPY\003\000' && little 57 4 && printf "{'descr': '<f8', 'fortran_order': False, 'shape': (1L,)}\n" && zeros 8
} >"$out/npy/v3.npy"

# Zip files of stored entries without CRC, and of one deflated one, whose CRC and stream come from gzip.
zip_entry() { # NAME FILE [METHOD CRC_FILE NBYTES]: appends to $zip.data and $zip.dir
    at=$(wc -c <"$zip.data") size=$(wc -c <"$2")
    facts() {
        little 0 2 && little "${3:-0}" 2 && little 33 4
        if [ $# -gt 3 ]; then cat "$4"; else zeros 4; fi
        little "$size" 4 && little "${5:-$size}" 4 && little ${#1} 2
    }
    { printf 'PK\003\004' && little 20 2 && facts "$@" && little 0 2 && printf '%s' "$1" && cat "$2"; } >>"$zip.data"
    { printf 'PK\001\002' && little 20 2 && little 20 2 && facts "$@" && little 0 2 && zeros 10 && little "$at" 4 && printf '%s' "$1"; } >>"$zip.dir"
}
zip_file() { # N_ENTRIES TO
    at=$(wc -c <"$zip.data") size=$(wc -c <"$zip.dir")
    { cat "$zip.data" "$zip.dir" && printf 'PK\005\006' && zeros 4 && little "$1" 2 && little "$1" 2 && little "$size" 4 && little "$at" 4 && little 0 2; } >"$2"
    rm -f "$zip.data" "$zip.dir"
}
zip=$out/zip.tmp
rm -f "$zip.data" "$zip.dir"
: >"$zip.data" && : >"$zip.dir"
zeros 64 >"$out/zeros.tmp"
zeros 16 >"$out/bf16.tmp"
printf little >"$out/order.tmp"
zip_entry m/data.pkl "$sed_state"
zip_entry m/byteorder "$out/order.tmp"
zip_entry m/data/0 "$out/zeros.tmp"
zip_entry m/data/1 "$out/bf16.tmp"
zip_file 4 "$out/zip/state.pt"
: >"$zip.data" && : >"$zip.dir"
zip_entry a.npy "$out/npy/f4.npy"
gzip -cn "$out/npy/i2.npy" >"$out/gzip.tmp"
n=$(wc -c <"$out/gzip.tmp")
tail -c 8 "$out/gzip.tmp" | head -c 4 >"$out/crc.tmp"
tail -c +11 "$out/gzip.tmp" | head -c $((n - 18)) >"$out/deflated.tmp"
zip_entry b.npy "$out/deflated.tmp" 8 "$out/crc.tmp" "$(wc -c <"$out/npy/i2.npy")"
zip_file 2 "$out/zip/arrays.npz"
rm -f "$out"/*.tmp

quantized() { # CONFIG HEADER DATA_NBYTES
    printf '%s\000' "$1"
    safetensors "$2" "$3"
}
quantized '{"quant_method":"gptq","bits":4,"group_size":8}' '{"a.qweight":{"dtype":"I32","shape":[2,8],"data_offsets":[0,64]},"a.qzeros":{"dtype":"I32","shape":[2,1],"data_offsets":[64,72]},"a.scales":{"dtype":"F16","shape":[2,8],"data_offsets":[72,104]},"a.g_idx":{"dtype":"I32","shape":[16],"data_offsets":[104,168]}}' 168 >"$out/quantized/gptq"
quantized '{"quant_method":"awq","bits":4,"group_size":2,"version":"gemm"}' '{"a.qweight":{"dtype":"I32","shape":[4,1],"data_offsets":[0,16]},"a.qzeros":{"dtype":"I32","shape":[2,1],"data_offsets":[16,24]},"a.scales":{"dtype":"F16","shape":[2,8],"data_offsets":[24,56]}}' 56 >"$out/quantized/awq"
{
    quantized '{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"g":{"weights":{"num_bits":3,"type":"int","strategy":"group","group_size":32}}}}' '{"a.weight_packed":{"dtype":"I32","shape":[2,3],"data_offsets":[0,24]},"a.weight_scale":{"dtype":"BF16","shape":[2,1],"data_offsets":[24,28]},"a.weight_shape":{"dtype":"I64","shape":[2],"data_offsets":[28,44]}}' 28
    little 2 8 && little 32 8
} >"$out/quantized/packed"
quantized '{"quant_method":"compressed-tensors","format":"nvfp4-pack-quantized","config_groups":{}}' '{"a.weight_packed":{"dtype":"U8","shape":[2,8],"data_offsets":[0,16]},"a.weight_scale":{"dtype":"F8_E4M3","shape":[2,1],"data_offsets":[16,18]},"a.weight_global_scale":{"dtype":"F32","shape":[1],"data_offsets":[18,22]}}' 22 >"$out/quantized/nvfp4"
quantized '{"quant_method":"fp8","weight_block_size":[2,2]}' '{"a.weight":{"dtype":"F8_E4M3","shape":[3,4],"data_offsets":[0,12]},"a.weight_scale_inv":{"dtype":"F32","shape":[2,2],"data_offsets":[12,28]}}' 28 >"$out/quantized/fp8"
quantized '{"bits":4,"group_size":8,"a":{"bits":4}}' '{"a.weight":{"dtype":"U32","shape":[2,2],"data_offsets":[0,16]},"a.scales":{"dtype":"F16","shape":[2,2],"data_offsets":[16,24]},"a.biases":{"dtype":"F16","shape":[2,2],"data_offsets":[24,32]}}' 32 >"$out/quantized/mlx"
{
    state='{"shape":[2,2],"blocksize":2,"quant_type":"nf4"}'
    quantized '{"quant_method":"bitsandbytes","load_in_4bit":true}' '{"a.weight":{"dtype":"U8","shape":[2,1],"data_offsets":[0,2]},"a.weight.absmax":{"dtype":"F32","shape":[2],"data_offsets":[2,10]},"a.weight.quant_map":{"dtype":"F32","shape":[16],"data_offsets":[10,74]},"a.weight.quant_state.bitsandbytes__nf4":{"dtype":"U8","shape":['${#state}'],"data_offsets":[74,'$((74 + ${#state}))']}}' 74
    printf '%s' "$state"
} >"$out/quantized/nf4"
quantized '{"quant_method":"bitsandbytes","load_in_8bit":true}' '{"a.weight":{"dtype":"I8","shape":[2,2],"data_offsets":[0,4]},"a.SCB":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}' 12 >"$out/quantized/int8"

printf '%s' '{"model":{"type":"BPE","byte_fallback":true,"unk_token":"<unk>","vocab":{"<unk>":0,"a":1,"b":2,"ab":3,"<0x41>":4,"\u2581":5,"\u2581a":6},"merges":["a b",["\u2581","a"]]},"added_tokens":[{"id":7,"content":"<s>","special":true,"normalized":false,"lstrip":false}],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"\u2581"},{"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"id":"<s>","ids":[7],"tokens":["<s>"]}}}}' \
    >"$out/tokenizer/llama.json"
printf '%s' '{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"\u0120":3},"merges":["a b"]},"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{N}{1,3}| ?\\p{L}+|\\s+"},"behavior":"Isolated","invert":false},{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]},"post_processor":{"type":"RobertaProcessing","sep":["a",0],"cls":["b",1]}}' \
    >"$out/tokenizer/bytes.json"
printf '{"a":0,"b":1,"ab":2,"<|endoftext|>":3}\000#version: 0.2\na b\n' >"$out/tokenizer/gpt2"
printf '[UNK]\n[CLS]\n[SEP]\na\n##b\nhello\n' >"$out/tokenizer/vocab.txt"
printf '<unk>\n[CLS]\n[SEP]\nb\n##c\n\000{"unk_token":"<unk>","do_lower_case":false,"pad_token":"<pad>"}' >"$out/tokenizer/settings"
printf '%s' '{"model":{"type":"WordPiece","vocab":{"[UNK]":0,"a":1,"##b":2,"\u00e9":3},"max_input_chars_per_word":5},"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"}}' \
    >"$out/tokenizer/wordpiece.json"

# Two texts, of three marks and of none: numbers, digits, and the form of recipes.
{
    printf 0
    for number in 500 3 17 34 51 20 0; do
        little $number 8
    done
} >"$out/text_marks/numbers"
printf 1%016x%016x%016x%016x%016x%016x%016x 500 3 17 34 51 20 0 >"$out/text_marks/digits"
printf '2{"texts":"AUEAAQIDBAU"}' >"$out/text_marks/recipe"
