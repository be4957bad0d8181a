# SPDX-License-Identifier: MIT
# A rotated file computes what the original does, says how it is rotated, and is compared with the original rotated alike.
head -c 6000 "$TEXT" >text.txt
"$HONE" convert "$MODELS/tiny-llama" --rotate all -o rotated.gguf --type f32 --quiet >/dev/null
"$HONE" verify "$MODELS/tiny-llama" rotated.gguf --text text.txt --ctx 64 --gate 'kld.mean<1e-6' \
    --gate 'top1.agreement>=0.999' --quiet >out
grep -Eq '^PASS +kld\.mean<1e-6 ' out
grep -aq '"transforms":{"rotation":"residual+heads"}' rotated.gguf
"$HONE" diff "$MODELS/tiny-llama" rotated.gguf >diff 2>notes || true
grep -q 'rotated like the candidate' notes
"$HONE" convert "$MODELS/tiny-llama" -o plain.gguf --type f32 --quiet >/dev/null
! cmp -s plain.gguf rotated.gguf
# From a GGUF file it comes out the same; and the memory budget or the threads do not matter.
"$HONE" convert plain.gguf --rotate residual+heads -o again.gguf --type f32 --threads 1 --memory 16MiB --quiet >/dev/null
"$HONE" diff rotated.gguf again.gguf >/dev/null
# What is made of a rotated file is rotated, too.
"$HONE" quantize rotated.gguf --type q8_0 -o q8.gguf --quiet >/dev/null
grep -aq '"rotation":"residual+heads"' q8.gguf
"$HONE" diff rotated.gguf q8.gguf >diff || true
awk 'NR > 1 && $5 > 0.02 { bad = 1 } END { exit bad || NR < 30 }' diff
# Half precision, other families, directories.
"$HONE" convert "$MODELS/tiny-gpt2" --rotate heads -o gpt2.gguf --type f16 --quiet >/dev/null
head -c 3000 "$MODELS/tiny-gpt2/heldout.txt" >text.txt
"$HONE" verify "$MODELS/tiny-gpt2" gpt2.gguf --text text.txt --ctx 64 --gate 'kld.mean<1e-5' --quiet >/dev/null
"$HONE" convert "$MODELS/tiny-gpt2" --rotate heads --to safetensors -o gpt2 --quiet >/dev/null
"$HONE" verify "$MODELS/tiny-gpt2" gpt2 --text text.txt --ctx 64 --gate 'kld.mean<1e-6' --quiet >/dev/null
# Experts, stacked and from a file of their own each.
head -n 20 "$MODELS/tiny-mixtral/heldout.txt" >text.txt
"$HONE" convert "$MODELS/tiny-mixtral" --rotate all -o experts.gguf --type f32 --quiet >/dev/null
"$HONE" verify "$MODELS/tiny-mixtral" experts.gguf --text text.txt --ctx 64 --chunks 4 --gate 'kld.mean<1e-6' --quiet >/dev/null
grep -aq '"transforms":{"rotation":"residual+heads"}' experts.gguf
"$HONE" convert "$MODELS/tiny-mixtral" --rotate all -o experts --to safetensors --type f32 --quiet >/dev/null
"$HONE" verify "$MODELS/tiny-mixtral" experts --text text.txt --ctx 64 --chunks 4 --gate 'kld.mean<1e-6' --quiet >/dev/null
"$HONE" diff experts.gguf experts >diff || true
awk 'NR > 1 && $5 > 1e-6 { bad = 1 } END { exit bad || NR < 20 }' diff
