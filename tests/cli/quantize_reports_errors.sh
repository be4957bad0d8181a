# SPDX-License-Identifier: MIT
# By type and over all, and by tensor in the JSON; figures that do not depend on threads or memory.
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_k_m --threads 1 --json one.json >stdout 2>err
[ ! -s err ]
grep -Eq '^type +tensors +bits/weight +relative RMSE +cosine +worst block +which$' stdout
grep -Eq '^q6_k +[0-9]+ +6\.562 +0\.0[0-9]+ +0\.999[0-9]+ +0\.[0-9]+ +block [0-9]+ of [a-z0-9._]+$' stdout
grep -Eq '^all +39 +' stdout
"$HONE" quantize "$MODELS/tiny-llama" -o out.gguf --type q4_k_m --threads 2 --memory 2MiB --json two.json --force --quiet >/dev/null
sed -e '/"seconds"/d' -e '/"memory_bytes"/d' one.json >a
sed -e '/"seconds"/d' -e '/"memory_bytes"/d' two.json >b
cmp a b
[ "$(grep -c '"cosine"' a)" -eq 33 ] # 30 tensors of blocks, 2 types, all
[ "$(grep -c '"error": null' a)" -eq 10 ] # 9 vectors, their type
# Nothing is lost by keeping what there is.
"$HONE" quantize out.gguf -o again.gguf --type q4_k_m --quiet --json - | sed -n '/"total"/,$p' >total
grep -q '"error": null' total
! grep -q relative_rmse total
# Codes on a grid, with what they cost.
"$HONE" quantize "$MODELS/tiny-llama" -o grid --to gptq --group 32 >stdout
grep -Eq '^grid of 4 bits +84 +4\.625 +0\.[0-9]+ +0\.99[0-9]+ +0\.[0-9]+ +block [0-9]+ of model\.layers\.[a-z0-9._]+$' stdout
# No report from convert.
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --force >stdout
! grep -q RMSE stdout
