# SPDX-License-Identifier: MIT
# Pipes, devices, directories and links are refused with the reason, with and without --force.
mkfifo pipe
mkdir directory
ln -s elsewhere link
refused() {
    code=0
    "$HONE" convert "$MODELS/tiny-llama" -o "$@" 2>err >out || code=$?
    [ "$code" -eq 2 ]
    [ ! -s out ]
    [ "$(wc -l <err)" -eq 1 ]
}
for force in "" --force; do
    refused pipe $force
    grep -q '^hone: pipe: output is a pipe; ' err
    refused directory $force
    grep -q '^hone: directory: output is a directory$' err
    refused link $force
    grep -q '^hone: link: output is a symbolic link' err
    refused /dev/null $force
    grep -q '^hone: /dev/null: output is a device; ' err
done
[ -p pipe ]
[ -h link ]
[ ! -e elsewhere ]
