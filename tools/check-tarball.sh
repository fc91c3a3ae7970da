#!/bin/sh
# What `make tarball` made runs on a system that has the C and C++ run time and nothing else (a root folder of those alone, if
# this is root), from wherever it was moved to, and writes the same bytes as the staged tool; programs are built with it.
# usage: tools/check-tarball.sh BUILD
set -eu
cd "$(dirname "$0")/.."
build=$1
name=libcet-$(tools/version.sh version)-linux-$(uname -m)
[ -f "$build/$name.tar.xz" ] || { echo "check-tarball: no $build/$name.tar.xz" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset LD_LIBRARY_PATH PKG_CONFIG_PATH
digits=$PWD/Tests/Fixtures/digits_cnn
compress() { # tool, output
  "$1" compress "$digits/model.onnx" "$2" --data "$digits/calibration.npz" --target-ratio 8 --samples 64 --quiet
}

tar -C "$work" -xf "$build/$name.tar.xz"
compress "$build/bin/cet-onnx" "$work/staged.onnx"
mkdir "$work/elsewhere"
moved="$work/elsewhere/moved here"
"$work/$name/bin/cet-onnx" --version >/dev/null
mv "$work/$name" "$moved"
compress "$moved/bin/cet-onnx" "$work/moved.onnx"
cmp "$work/staged.onnx" "$work/moved.onnx"
tools/check-private.sh "$moved/lib/libcet.so" "$build"

PKG_CONFIG_PATH="$moved/lib/pkgconfig" pkg-config --exists cet
ln -s "$moved" "$work/plain" # pkg-config's flags are words
export PKG_CONFIG_PATH="$work/plain/lib/pkgconfig"
printf '#include <cet/cet.hpp>\nint main() { return cet::model::load_file("none").error().status == CET_IO ? 0 : 1; }\n' >"$work/program.cpp"
# shellcheck disable=SC2046 # one word per flag
c++ -std=c++17 "$work/program.cpp" -o "$work/program" $(pkg-config --cflags --libs --static cet) "-Wl,-rpath,$moved/lib"
"$work/program"
if command -v cmake >/dev/null; then
  printf '%s\n' 'cmake_minimum_required(VERSION 3.13)' 'project(consumer CXX)' 'find_package(cet 0.1 REQUIRED)' \
    'set(CMAKE_CXX_STANDARD 17)' 'add_executable(program program.cpp)' 'target_link_libraries(program cet::cet)' >"$work/CMakeLists.txt"
  cmake -S "$work" -B "$work/cmake" "-DCMAKE_PREFIX_PATH=$moved" >/dev/null
  cmake --build "$work/cmake" >/dev/null
  "$work/cmake/program"
fi

if [ "$(id -u)" = 0 ] && command -v dpkg >/dev/null; then
  bare=$work/bare
  mkdir -p "$bare/usr/lib" "$bare/usr/lib64" "$bare/proc" "$bare/tmp" "$bare/srv"
  ln -s usr/lib "$bare/lib"
  ln -s usr/lib64 "$bare/lib64"
  for package in libc6 libgcc-s1 libstdc++6; do
    dpkg -L "$package" | grep -E '\.so(\.|$)' | while read -r file; do
      [ -d "$file" ] || { mkdir -p "$bare$(dirname "$file")" && cp -a "$file" "$bare$file"; }
    done
  done
  cp -r "$moved" "$bare/srv/cet"
  cp "$digits/model.onnx" "$digits/calibration.npz" "$bare/tmp"
  # shellcheck disable=SC2016 # expanded inside
  unshare --mount --propagation private sh -euc 'mount -t proc proc "$1/proc"
    exec env -i "$(command -v chroot)" "$1" /srv/cet/bin/cet-onnx compress /tmp/model.onnx /tmp/small.onnx --data /tmp/calibration.npz \
      --target-ratio 8 --samples 64 --quiet' sh "$bare"
  cmp "$work/staged.onnx" "$bare/tmp/small.onnx"
  where="a bare root of $(find "$bare/usr" -type f | wc -l) files of the C and C++ run time"
else
  where="no bare root (not root, or no dpkg)"
fi
echo "check-tarball: moved, $where, the same $(wc -c <"$work/staged.onnx") bytes everywhere"
