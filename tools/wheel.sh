#!/bin/sh
# Wheels: `cet` with the library inside, and private copies of what that needs but for the C and C++ run time; `cet-onnx` with the tool,
# which uses that library. And `cet` as source, which looks for a library that is installed.
# usage: tools/wheel.sh BUILD PYTHON PATCHELF
set -eu
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd) patchelf=$3
python=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -f "$build"/*.whl "$build"/cet-*.tar.gz

wheel() { # folder, tag of the platform
  # Of one platform, and of every Python.
  cat >"$1/setup.py" <<'END'
from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel


class Wheel(bdist_wheel):
    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(cmdclass={"bdist_wheel": Wheel})
END
  "$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$build" \
    "--config-settings=--build-option=--plat-name=$2" "$1"
}
# manylinux's number is the newest glibc that anything asks for.
platform() { echo "manylinux_$(echo "$1" | tr . _)_$(uname -m)"; }

cp -r bindings/python "$work/cet"
cp LICENSE "$work/cet"
(cd "$work/cet" && "$python" -c "from setuptools.build_meta import build_sdist; build_sdist('$build')" >"$work/log" 2>&1) ||
  { cat "$work/log" >&2; exit 1; }
soname=$(tools/version.sh soname)
library=$work/cet/cet/$soname
cp "$build/lib/libcet.so" "$library"
glibc=$("$python" tools/bundle.py "$library" "$patchelf" "$work/cet/cet/licenses")
wheel "$work/cet" "$(platform "$glibc")"

cp -r bindings/python-tool "$work/tool"
cp LICENSE "$work/tool"
tool=$work/tool/cet_onnx/cet-onnx
cp "$build/bin/cet-onnx" "$tool"
"$patchelf" --set-rpath '$ORIGIN/../cet' "$tool"
version=$(tools/version.sh version)
echo "$version" >"$work/tool/VERSION"
echo "cet == $version" >"$work/tool/DEPENDENCIES"
glibc=$("$python" -c 'import sys; sys.path.insert(0, "tools"); import bundle; print(bundle.required_glibc(sys.argv[1:]))' "$tool")
wheel "$work/tool" "$(platform "$glibc")"
ls "$build"/*.whl "$build"/cet-*.tar.gz
