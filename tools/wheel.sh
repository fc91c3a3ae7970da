#!/bin/sh
# A wheel with the library inside. It runs where the library's own needs are installed (OpenBLAS, oneDNN, libzip);
# auditwheel repair can put those inside too.
# usage: tools/wheel.sh BUILD PYTHON
set -eu
cd "$(dirname "$0")/.."
build=$1 python=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r bindings/python/. "$work"
cp "$build/lib/libcet.so.0" "$work/cet/libcet.so.0"
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$build" "$work"
ls "$build"/*.whl
