# SPDX-License-Identifier: MIT
# What calibrating and quantizing LLaMA-2-7B takes, by --dry-run: memory below 16 GiB.
. "$CASES/seven_billion.lib"
seven_billion
memory() {
    sed -n 's/^ *"memory_bytes": \([0-9]*\).*/\1/p' plan.json
}
"$HONE" calibrate big --text "$TEXT" --chunks 128 --hessian --memory 2GiB --dry-run --quiet --json plan.json >calibrate
cat calibrate
grep -q '^working memory' calibrate
grep -q '^time  *about' calibrate
[ "$(memory)" -gt 400000000 ]
[ "$(memory)" -lt 17179869184 ]
"$HONE" quantize big --type q4_k_m --sequential --text "$TEXT" --chunks 128 --memory 4GiB --dry-run --quiet --json plan.json >quantize
tail -n 12 quantize
grep -q '^  of it weights' quantize
grep -q '^time  *about' quantize
[ "$(memory)" -gt 2000000000 ]
[ "$(memory)" -lt 17179869184 ]
# The same budget where no moments fit is refused in one line.
code=0
"$HONE" quantize big --type q4_k_m --sequential --text "$TEXT" --chunks 8 --dry-run 2>err >/dev/null || code=$?
[ "$code" -eq 3 ]
grep -q 'error feedback needs [0-9]* bytes of working memory, the budget is' err
