#!/bin/sh
# Builds onnx-judge with Debian's libonnx-dev and libprotobuf-dev (libonnx 1.12), or says that they are not here.
# usage: examples/onnx-judge/build.sh OUTPUT      exit code: 3 when the libraries are missing
set -eu
cd "$(dirname "$0")"
output=$1
cxx=${CXX:-c++}
flags="-std=c++17 -O1 -DONNX_NAMESPACE=onnx -DONNX_ML=1"
if ! printf '#include <onnx/checker.h>\n' | $cxx $flags -x c++ -fsyntax-only - 2>/dev/null; then
  echo "onnx-judge: not built, libonnx-dev and libprotobuf-dev are not installed"
  exit 3
fi
mkdir -p "$(dirname "$output")"
# shellcheck disable=SC2086 # one word per flag
$cxx $flags -Wall -Wextra -Wno-unused-parameter -Werror=return-type ./*.cpp -o "$output.new" -lonnx -lonnx_proto -lprotobuf
mv "$output.new" "$output"
