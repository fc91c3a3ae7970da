#!/bin/sh
# Builds onnx-judge with Debian's libonnx-dev and libprotobuf-dev (libonnx 1.12), or says that they are not here.
# usage: examples/onnx-judge/build.sh OUTPUT      exit code: 3 when the libraries are missing
set -eu
cd "$(dirname "$0")"
case $1 in /*) output=$1 ;; *) output=$OLDPWD/$1 ;; esac
cxx=${CXX:-c++}
flags="-std=c++17 -O1 -DONNX_NAMESPACE=onnx -DONNX_ML=1"
if ! printf '#include <onnx/checker.h>\n' | $cxx $flags -x c++ -fsyntax-only - 2>/dev/null; then
  echo "onnx-judge: not built, libonnx-dev and libprotobuf-dev are not installed"
  exit 3
fi
if [ -x "$output" ] && [ -z "$(find . -newer "$output" -type f)" ]; then exit 0; fi
mkdir -p "$(dirname "$output")"
# shellcheck disable=SC2086 # one word per flag
$cxx $flags -Wall -Wextra ./*.cpp -o "$output.new" -lonnx -lonnx_proto -lprotobuf
mv "$output.new" "$output"
