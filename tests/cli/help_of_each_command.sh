# SPDX-License-Identifier: MIT
"$HONE" help >overview
[ "$("$HONE" --help)" = "$(cat overview)" ]
for command in inspect convert quantize perplexity verify diff check tokenize; do
    grep -q "^  $command " overview
    "$HONE" "$command" --help >help 2>err
    [ ! -s err ]
    head -n 1 help | grep -q "^usage: hone $command "
    "$HONE" help "$command" | cmp - help
done
