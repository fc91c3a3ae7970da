#!/bin/sh
# Installs the wheel that `make wheel` made in an environment with nothing else, and compresses a model there.
# usage: tools/check-wheel.sh BUILD
set -eu
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
set -- "$build"/*.whl
[ -f "$1" ] || { echo "check-wheel: no wheel in $build" >&2; exit 1; }
[ $# = 1 ] || { echo "check-wheel: several wheels in $build: $*" >&2; exit 1; }
sources=$PWD
digits=$sources/Tests/Fixtures/digits_cnn
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --quiet --disable-pip-version-check install "$1"
# From another folder, and with no variable that could lead to another library.
cd "$work"
env -u CET_LIBRARY -u PYTHONPATH -u LD_LIBRARY_PATH venv/bin/python - "$digits" "$work/venv" <<'END'
import sys

import cet

digits, environment = sys.argv[1:]
assert cet.library_path().startswith(environment), cet.library_path()
model, data = cet.Model(f"{digits}/model.onnx"), cet.Calibration.from_npz(f"{digits}/calibration.npz")
quantized = cet.quantize(model, data, cet.plan(model, data, target_ratio=8, samples=64))
quantized.save("small.onnx")
with open("/proc/self/maps") as maps:
    loaded = {line.split()[-1] for line in maps if ".so" in line}
foreign = [path for path in loaded if not path.startswith(environment) and any(
    name in path for name in ("openblas", "dnnl", "gomp", "gfortran"))]
assert not foreign, foreign
print(f"check-wheel: {quantized!r}")
END
[ -s small.onnx ]
"$sources/tools/check-private.sh" "$(echo "$work"/venv/lib/python*/site-packages/cet/libcet.so.*)" "$build"
