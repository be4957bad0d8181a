#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what building and testing hone needs, where it is missing. Quiet and at once when nothing is.
set -eu

present() {
    for tool in "${CC:-cc}" make ar pkg-config; do
        command -v "$tool" >/dev/null 2>&1 || return 1
    done
    for package in zlib libxxhash check jansson libpcre2-8 libutf8proc openblas; do
        pkg-config --exists "$package" 2>/dev/null || return 1
    done
}

print_names() {
    cat >&2 <<'END'
hone: some packages are missing and cannot be installed from here. Their names:
  apt     build-essential pkg-config zlib1g-dev libxxhash-dev check libjansson-dev libpcre2-dev libutf8proc-dev libopenblas-dev
  dnf     gcc make pkgconf-pkg-config zlib-devel xxhash-devel check-devel jansson-devel pcre2-devel utf8proc-devel openblas-devel
  pacman  base-devel pkgconf zlib xxhash check jansson pcre2 libutf8proc openblas
  brew    gcc make pkgconf zlib xxhash check jansson pcre2 utf8proc openblas
END
    exit 1
}

present && exit 0
command -v apt-get >/dev/null 2>&1 || print_names
if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
else
    print_names
fi
echo "hone: installing packages with apt-get" >&2
export DEBIAN_FRONTEND=noninteractive
# $as_root is empty or one word. env carries DEBIAN_FRONTEND through sudo.
$as_root apt-get -qq update >&2 || echo "hone: apt-get update failed; trying with the lists there are" >&2
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends \
    build-essential pkg-config zlib1g-dev libxxhash-dev check libjansson-dev libpcre2-dev libutf8proc-dev \
    libopenblas-dev >&2 || print_names
present || print_names
