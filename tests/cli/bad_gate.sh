# SPDX-License-Identifier: MIT
# Refused before the text is even looked for.
"$HONE" verify a b --text nope.txt --gate 'kld.mean=<0.1'
