# SPDX-License-Identifier: MIT
# Damaged files of every format, and headers that ask for everything: 2 s of processor time and 1 GiB of address space are enough
# to accept or refuse each, in one line, and nothing is left of an output.
export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=1
(ulimit -v 1048576 && "$HONE" --version) >/dev/null 2>&1 || { echo 'SKIP the program does not start in 1 GiB of addresses'; exit 0; }
sh "$CASES/../fuzz/make_seeds.sh" seeds
mkdir stub
cp "$MODELS/tiny-gpt2/config.json" "$MODELS/tiny-gpt2/model.safetensors" stub
n=0 refused=0

# bounded WHAT ARGUMENT...: runs hone, which ends with 0 or 2.
bounded() {
    what=$1 code=0
    shift
    (ulimit -v 1048576 && ulimit -t 2 && exec "$HONE" "$@") >out 2>err || code=$?
    n=$((n + 1))
    if [ "$code" -eq 2 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q '^hone: ' err; then
        refused=$((refused + 1))
    elif [ "$code" -ne 0 ]; then
        echo "$what: exit $code"
        cat err
        exit 1
    fi
    if [ "$code" -ne 0 ] && { [ -e new ] || ls new.* 2>/dev/null; }; then
        echo "$what: left an output"
        exit 1
    fi
    rm -rf new new.*
}

# read_as NAME: runs the commands that read ./NAME (a weights file, or a file of stub/).
read_as() {
    case $1 in
    stub/config.json) bounded "$2" inspect stub ;;
    stub/*) bounded "$2" tokenize stub 'Hello, world' ;;
    *)
        bounded "$2" inspect "$1" --tensors
        bounded "$2" convert "$1" -o new --to safetensors --quiet
        ;;
    esac
}

# damaged SEED NAME: the seed whole, cut short, and with 8 bytes of ones written over it at several places.
damaged() {
    size=$(wc -c <"$1")
    cp "$1" "$2"
    read_as "$2" "$1 whole"
    for cut in 3 $((size / 2)) $((size - 1)); do
        head -c "$cut" "$1" >"$2"
        read_as "$2" "$1 cut to $cut"
    done
    for at in 8 16 $((size / 3)) $((size * 2 / 3)); do
        cp "$1" "$2"
        printf '\377\377\377\377\377\377\377\377' | dd of="$2" bs=1 seek="$at" conv=notrunc 2>dd.err
        read_as "$2" "$1 ones at $at"
    done
    rm -f "$2"
}

for seed in seeds/safetensors/* seeds/quantized/*; do
    damaged "$seed" x.safetensors
done
for seed in seeds/gguf/*; do
    damaged "$seed" x.gguf
done
for seed in seeds/npy/*; do
    damaged "$seed" x.npy
done
for seed in seeds/pytorch/* seeds/pytorch_legacy/* seeds/zip/* seeds/pickle/*; do
    damaged "$seed" x.pt
done
for seed in seeds/sentencepiece/*; do
    damaged "$seed" stub/tokenizer.model
done
for seed in seeds/tokenizer/*.json; do
    damaged "$seed" stub/tokenizer.json
done
damaged seeds/tokenizer/vocab.txt stub/vocab.txt
cp stub/config.json good.json
for seed in good.json seeds/json/*; do
    damaged "$seed" stub/config.json
done
cp good.json stub/config.json

# hostile NAME: what follows on standard input asks for too much, and is refused.
hostile() {
    cat >"$1"
    before=$refused runs=$n
    read_as "$1" "hostile $1"
    [ $((refused - before)) -eq $((n - runs)) ] || { echo "accepted hostile $1 $2"; exit 1; }
    rm -f "$1"
}
# repeat N TEXT
repeat() {
    yes "$2" | head -n "$1" | tr -d '\n'
}

printf '\377\377\377\377\377\377\377\177{}' | hostile x.safetensors 'header of 2^63 bytes'
printf '\377\377\377\377\0\0\0\0{}' | hostile x.safetensors 'header of 2^32 bytes'
{ printf '\140\352\0\0\0\0\0\0' && repeat 60000 '['; } | hostile x.safetensors 'header of brackets'
printf 'GGUF\3\0\0\0\377\377\377\377\377\377\377\0\0\0\0\0\0\0\0\0' | hostile x.gguf 'tensors'
printf 'GGUF\3\0\0\0\0\0\0\0\0\0\0\0\377\377\377\377\377\377\377\0' | hostile x.gguf 'keys'
printf 'GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\377\377\377\377\377\377\377\17' | hostile x.gguf 'key of 2^60 bytes'
printf 'GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0k\11\0\0\0\0\0\0\0\377\377\377\377\377\377\377\17' |
    hostile x.gguf 'array of 2^60 bytes'
printf '\223NUMPY\2\0\377\377\377\377{' | hostile x.npy 'header of 2^32 bytes'
{ printf '\223NUMPY\1\0\374\0' && repeat 252 '('; } | hostile x.npy 'header of brackets'
{ printf '\200\2' && repeat 300000 '('; } | hostile x.pt 'marks'
{ printf '\200\2' && repeat 300000 ']'; } | hostile x.pt 'lists'
printf '\200\2\213\377\377\377\177' | hostile x.pt 'integer of 2^31 bytes'
printf '\200\2X\377\377\377\377' | hostile x.pt 'string of 2^32 bytes'
repeat 300000 '[' | hostile stub/config.json 'depth'
{ printf '{"a":' && repeat 300000 '{"a":'; } | hostile stub/config.json 'depth of objects'
cp good.json stub/config.json
repeat 1000000 '[' | hostile stub/tokenizer.json 'depth'
{ printf '{"model":{"type":"BPE","merges":[],"vocab":{"a":4000000000000}}}'; } | hostile stub/tokenizer.json 'id'
yes '' | head -n 2000000 | hostile stub/vocab.txt 'lines'
{ printf '[UNK]\n[CLS]\n[SEP]\n' && head -c 2000 /dev/zero; } | hostile stub/vocab.txt 'NUL'
printf '\12\377\377\377\377\17' | hostile stub/tokenizer.model 'piece of 2^32 bytes'
[ "$refused" -gt $((n / 3)) ]
echo "$n runs, $refused refused"
