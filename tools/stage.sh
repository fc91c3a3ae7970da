#!/bin/sh
# Lays what was built out as it is installed, under a folder that can be used in place.
# usage: tools/stage.sh FROM TO VERSION
set -eu
cd "$(dirname "$0")/.."
from=$1 to=$2 version=$3

rm -rf "$to/lib" "$to/bin" "$to/include"
mkdir -p "$to/lib/pkgconfig" "$to/lib/cmake/cet" "$to/bin" "$to/include/cet"
install -m 644 "$from/libcet.so" "$to/lib/libcet.so.$version"
install -m 755 "$from/cet-onnx" "$to/bin/cet-onnx"
strip --strip-unneeded "$to/lib/libcet.so.$version" "$to/bin/cet-onnx"
ln -s "libcet.so.$version" "$to/lib/libcet.so.0"
ln -s libcet.so.0 "$to/lib/libcet.so"
install -m 644 include/cet/cet.h "$to/include/cet/cet.h"

major=${version%%.*}
minor=${version#*.}
minor=${minor%%.*}
for template in cet.pc cetConfig.cmake cetConfigVersion.cmake; do
  case $template in *.pc) folder=pkgconfig ;; *) folder=cmake/cet ;; esac
  sed "s/@VERSION@/$version/; s/@MAJOR@/$major/; s/@MINOR@/$minor/" "link/$template.in" >"$to/lib/$folder/$template"
done
echo "libcet $version is in $to"
