# SPDX-License-Identifier: MIT
head -c 6000 "$TEXT" >text.txt
"$HONE" quantize "$MODELS/tiny-llama" -o q4.gguf --type q4_0 --quiet >/dev/null
code=0
"$HONE" verify "$MODELS/tiny-llama" q4.gguf --text text.txt --ctx 64 --gate 'kld.mean<1e-9' --gate 'candidate.bpw<32' \
    --json report.json >out || code=$?
grep -Eq '^FAIL +kld\.mean<1e-9 ' out
grep -Eq '^PASS +candidate\.bpw<32 ' out
grep -q '^  "pass": false$' report.json
exit $code
