#!/bin/sh
# Removes what tools/install.sh of this version put below a prefix, by name: other files and other versions stay.
# usage: tools/uninstall.sh PREFIX DESTDIR
set -eu
cd "$(dirname "$0")/.."
prefix=$1 destination=$2
case $prefix in /*) ;; *) echo "uninstall: PREFIX must be an absolute path, not '$prefix'" >&2; exit 1 ;; esac
target=$destination$prefix
version=$(tools/version.sh version)
soname=$(tools/version.sh soname)

removed=0
remove() { # path below the prefix
  if [ -e "$target/$1" ] || [ -L "$target/$1" ]; then
    rm -f "$target/$1"
    removed=$((removed + 1))
  fi
}
# A link stays when it leads to another version's library.
for link in libcet.so "$soname"; do
  case $(readlink -m "$target/lib/$link") in */"libcet.so.$version") remove "lib/$link" ;; esac
done
remove "lib/libcet.so.$version"
remove bin/cet-onnx
remove share/man/man1/cet-onnx.1
remove share/bash-completion/completions/cet-onnx
remove share/zsh/site-functions/_cet-onnx
remove share/fish/vendor_completions.d/cet-onnx.fish
remove libexec/cet/onnx-judge
for file in cet.h cet.hpp; do remove "include/cet/$file"; done
remove lib/pkgconfig/cet.pc
for file in cetConfig.cmake cetConfigVersion.cmake; do remove "lib/cmake/cet/$file"; done
for folder in include/cet lib/cmake/cet libexec/cet; do
  [ ! -d "$target/$folder" ] || rmdir --ignore-fail-on-non-empty "$target/$folder"
done
[ "$removed" != 0 ] || { echo "uninstall: nothing of libcet $version in $target" >&2; exit 1; }
if [ -z "$destination" ] && [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi
echo "removed $removed files from $target"
