#!/bin/sh
# Builds serve.c, pool.c and runtime.c against a built libcet and the ONNX Runtime of the server's environment.
# usage: examples/server/build.sh BUILD OUTPUT
set -eu
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
headers=$("$here/headers.sh" "$build/onnxruntime")
runtime=$("$here/.venv/bin/python" -c 'import onnxruntime, pathlib
print(next(pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")))')
# The wheel has the library under its full version alone; the loader asks for the name that it says it has.
ln -sf "$runtime" "$build/onnxruntime/libonnxruntime.so.1"
cc -std=c11 -O2 -Wall -Wextra -Werror -pedantic "$here/serve.c" "$here/pool.c" "$here/runtime.c" -I "$build/include" -isystem "$headers" \
  "$build/lib/libcet.so" "$build/onnxruntime/libonnxruntime.so.1" -pthread \
  "-Wl,-rpath,$build/lib" "-Wl,-rpath,$build/onnxruntime" -o "$2"
