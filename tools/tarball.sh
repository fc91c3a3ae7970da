#!/bin/sh
# A tarball that works wherever it is unpacked: library, tool, headers, pkg-config and CMake files, and private copies of all
# that the library needs but for the C and C++ run time.
# usage: tools/tarball.sh FROM TO PYTHON PATCHELF      (FROM: the folder of the distribution build)
set -eu
cd "$(dirname "$0")/.."
from=$1 to=$2 python=$3 patchelf=$4
name=libcet-$(tools/version.sh version)-linux-$(uname -m)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools/stage.sh "$from" "$work/$name" >/dev/null
rm -rf "$work/$name/lib/debug" "$work/$name/libexec" # onnx-judge needs the system's libonnx
glibc=$("$python" tools/bundle.py "$work/$name/lib/libcet.so" "$patchelf" "$work/$name/share/doc/libcet")
mkdir -p "$work/$name/share/doc/libcet"
cp LICENSE CHANGELOG.md "$work/$name/share/doc/libcet"
# Nobody links with what is private.
sed -i 's/^\(Libs.private\):.*/\1:/' "$work/$name/lib/pkgconfig/cet.pc"
cat >"$work/$name/README" <<END
libcet $(tools/version.sh version) for Linux on $(uname -m), glibc $glibc or later (Debian 12, Ubuntu 22.04) with the C++ run time (libstdc++6).

Works wherever it is unpacked, and may be moved. bin/cet-onnx is the tool; programs are built with
    PKG_CONFIG_PATH=FOLDER/lib/pkgconfig pkg-config --cflags --libs cet        or        cmake -DCMAKE_PREFIX_PATH=FOLDER
lib/libcet-*.so.* are private copies: their symbols have names of their own, so that nothing is shared with a program that has
its own OpenBLAS, oneDNN, OpenMP or zlib. share/doc/libcet says what they are and has their licences.
END
mkdir -p "$to"
moment=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
tar -C "$work" "--mtime=@$moment" --owner=0 --group=0 --numeric-owner --sort=name -cf - "$name" | xz -T0 -3 >"$to/$name.tar.xz"
ls -l "$to/$name.tar.xz" | awk '{ print $5, $NF }'
