#!/bin/sh
# A wheel with the library inside, and private copies of what that needs but for the C and C++ run time.
# usage: tools/wheel.sh BUILD PYTHON PATCHELF
set -eu
cd "$(dirname "$0")/.."
build=$1 python=$2 patchelf=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r bindings/python/. "$work"
library=$work/cet/$(tools/version.sh soname)
cp "$build/lib/libcet.so" "$library"
glibc=$("$python" tools/bundle.py "$library" "$patchelf" "$work/cet/licenses")
platform=manylinux_$(echo "$glibc" | tr . _)_$(uname -m)
rm -f "$build"/*.whl
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$build" \
  --config-settings=--build-option=--plat-name="$platform" "$work"
ls "$build"/*.whl
