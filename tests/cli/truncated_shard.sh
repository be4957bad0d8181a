# SPDX-License-Identifier: MIT
# The header promises 24 bytes of data; the file has 4 of them.
header='{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
printf '\071\0\0\0\0\0\0\0%sabcd' "$header" >short.safetensors
[ ${#header} -eq 57 ]
"$HONE" inspect short.safetensors
