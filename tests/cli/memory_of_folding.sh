# SPDX-License-Identifier: MIT
# What folding and correction take is shown beforehand, and refused, with nothing written, where --memory is less.
head -n 60 "$TEXT" >calibration.txt
"$HONE" calibrate "$MODELS/tiny-llama" --text calibration.txt --ctx 64 --chunks 4 --hessian -o stats.gguf --quiet >/dev/null
quantize() {
    "$HONE" quantize "$MODELS/tiny-llama" --type q4_0 --method plain --calibration stats.gguf -o out.gguf --quiet "$@"
}
quantize --fold --dry-run | grep -Eq '^  before it +[0-9.]+ MiB, to fold or correct$'
! quantize --fold --memory 3MiB 2>fold.err || exit 1
grep -Eq 'folding needs [0-9]+ bytes of working memory, the budget is 3145728 \(--memory\)$' fold.err
! quantize --correct --memory 2560KiB 2>correct.err || exit 1
grep -Eq 'correction needs [0-9]+ bytes of working memory, the budget is 2621440 \(--memory\)$' correct.err
test ! -e out.gguf
