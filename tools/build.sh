#!/bin/sh
# Builds the library and the tool, and libonnx's judge where libonnx-dev is.
# usage: tools/build.sh SCRATCH      (SCRATCH/release then holds libcet.so, cet-onnx and onnx-judge)
set -eu
cd "$(dirname "$0")/.."
scratch=$1
tool=$scratch-tool # of its own: two builds in one folder wait for each other
CET_DIST=$(tools/version.sh abi)
export CET_DIST
mkdir -p "$scratch" "$tool"
sed "s/@ABI@/$CET_DIST/" link/cet.map.in >"$scratch/cet.map"
python3 tools/lean-runtime.py "$scratch/runtime"

# The library's modules wait for one another, which leaves time to compile the tool's; only its linking waits for the library.
set -- --scratch-path "$tool" -c release --static-swift-stdlib -Xlinker "-L$scratch/release"
swift build "$@" --target cet-onnx >"$tool/log" 2>&1 &
compiling=$!
trap 'kill $compiling 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
swift build --scratch-path "$scratch" -c release --product cet
wait $compiling || { cat "$tool/log" >&2; exit 1; }
rm -f "$tool/release/cet-onnx" # linked anew: the build does not see when the library's name changes
swift build "$@" --product cet-onnx
cp "$tool/release/cet-onnx" "$scratch/release/cet-onnx"
examples/onnx-judge/build.sh "$scratch/release/onnx-judge" || [ $? = 3 ]
