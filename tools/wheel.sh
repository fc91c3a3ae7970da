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
cp "$build/lib/libcet.so" "$work/cet/$(tools/version.sh soname)"
platform=$("$python" -c 'import sysconfig; print(sysconfig.get_platform().replace("-", "_").replace(".", "_"))')
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$build" \
  --config-settings=--build-option=--plat-name="$platform" "$work"
ls "$build"/*.whl
