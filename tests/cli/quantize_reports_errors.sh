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
[ "$(grep -c '"cosine"' a)" -eq 43 ] # 39 tensors, 3 types, all
# Nothing is lost by keeping what there is.
"$HONE" quantize out.gguf -o again.gguf --type q4_k_m --quiet --json - | sed -n '/"total"/,$p' >total
grep -q '"relative_rmse": 0.0' total
# No report from convert.
"$HONE" convert "$MODELS/tiny-llama" -o out.gguf --force >stdout
! grep -q RMSE stdout
