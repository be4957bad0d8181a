# SPDX-License-Identifier: MIT
# A pytorch_model.bin that stores masks and the tied output too, and files of other names for the tokenizer.
model=${HONE_MODELS:-$MODELS/../../../shared/models}/gpt2-tiny
[ -f "$model/pytorch_model.bin" ] || { echo "SKIP no $model"; exit 0; }
"$HONE" convert "$model" -o f32.gguf --type f32 --quiet >/dev/null
head -c 20000 "$model/data.txt" >text.txt
"$HONE" verify "$model" f32.gguf --text text.txt --gate 'kld.mean<1e-9' --gate 'candidate.ppl<60' >/dev/null
"$HONE" diff "$model" f32.gguf >diff.txt
if grep -q '^only in' diff.txt; then exit 1; fi
