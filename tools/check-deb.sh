#!/bin/sh
# What `make deb` made: lintian finds no fault, and the packages work where they are installed with dpkg, in a throwaway copy
# of this system (a mount namespace; needs root). Removed again they leave nothing.
# usage: tools/check-deb.sh FOLDER
set -eu
cd "$(dirname "$0")/.."
folder=$(cd "$1" && pwd)
version=$(tools/version.sh version)
library=libcet$(tools/version.sh abi)
set -- "$folder"/*_"$version"-*_"$(dpkg --print-architecture)".deb
[ $# = 5 ] && [ -f "$1" ] || { echo "check-deb: not the five packages of $version in $folder" >&2; exit 1; }

# No package of ours closes a bug of Debian's.
lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$@"
for dependency in libopenblas0 zlib1g libstdc++6 libc6; do
  dpkg-deb -f "$folder/${library}_$version"-*.deb Depends | grep -q "\b$(echo "$dependency" | sed 's/+/[+]/g')" ||
    { echo "check-deb: $library does not depend on $dependency" >&2; exit 1; }
done
dpkg-deb -f "$folder/cet-onnx_$version"-*.deb Depends | grep -q "$library (>= " ||
  { echo "check-deb: cet-onnx does not depend on $library" >&2; exit 1; }

[ "$(id -u)" = 0 ] || { echo "check-deb: not root, so the packages are not installed anywhere"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/try" <<'END'
set -eu
work=$1 sources=$2
shift 2
mount -t tmpfs none "$work/layers"
mkdir "$work/layers/upper" "$work/layers/work" "$work/layers/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layers/upper,workdir=$work/layers/work" "$work/layers/root"
root=$work/layers/root
mount -t proc proc "$root/proc"
mkdir -p "$root/packages" "$root/sources" "$root/out"
cp "$@" "$root/packages"
mount --bind -o ro "$sources" "$root/sources"
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 sh -eu <<'INSIDE'
dpkg -i /packages/*.deb >/out/log 2>&1 || { cat /out/log; exit 1; }
ldconfig -p | grep -q 'libcet.so'
cet-onnx --version
cd /out
digits=/sources/Tests/Fixtures/digits_cnn
cet-onnx compress $digits/model.onnx small.onnx --data $digits/calibration.npz --target-ratio 8 --samples 64 --quiet
cc -x c $(pkg-config --cflags cet) /sources/examples/c/custom_operator.c $(pkg-config --libs cet) -lm -o program
./program >/dev/null
printf '#include <cet/cet.hpp>\nint main() { return cet::model::load_file("none").error().status == CET_IO ? 0 : 1; }\n' >program.cpp
c++ -std=c++17 program.cpp -lcet -o program && ./program
if command -v cmake >/dev/null; then
  printf '%s\n' 'cmake_minimum_required(VERSION 3.13)' 'project(consumer CXX)' 'find_package(cet 0.1 REQUIRED)' \
    'add_executable(program program.cpp)' 'target_link_libraries(program cet::cet)' >CMakeLists.txt
  cmake -S . -B cmake -DCMAKE_CXX_STANDARD=17 >/dev/null && cmake --build cmake >/dev/null && cmake/program
fi
dpkg --purge cet-onnx-dbgsym $(cd /packages && ls | sed -n 's/^\(libcet[0-9.]*-dbgsym\)_.*/\1/p') cet-onnx libcet-dev \
  $(cd /packages && ls | sed -n 's/^\(libcet[0-9.]*\)_.*/\1/p') >/out/log 2>&1 || { cat /out/log; exit 1; }
left=$(find /usr -name '*libcet*' -o -path /usr/include/cet -o -name 'cet-onnx*' -o -name cet.pc)
[ -z "$left" ] || { echo "check-deb: purging left $left" >&2; exit 1; }
INSIDE
END
mkdir "$work/layers"
unshare --mount --propagation private sh "$work/try" "$work" "$PWD" "$@"
echo "check-deb: five packages installed, used and purged"
