#!/bin/sh
# Installs the wheels that `make wheel` made in an environment with nothing else, and compresses a model there by the package and by the
# tool; then beside what the tests' environment has of torch and onnxruntime; then the source package, with the library of BUILD.
# usage: tools/check-wheel.sh BUILD
set -eu
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheel() { # name
  set -- "$build/$1"-*.whl
  [ -f "$1" ] && [ $# = 1 ] || { echo "check-wheel: expected one wheel, got $*" >&2; exit 1; }
  echo "$1"
}
package=$(wheel cet)
tool=$(wheel cet_onnx)
limit=20000000
[ "$(stat -c %s "$package")" -le $limit ] || { echo "check-wheel: $package has more than $limit bytes" >&2; exit 1; }
sources=$PWD
digits=$sources/Tests/Fixtures/digits_cnn
python3 - "$package" "$tool" <<'END'
import sys
import zipfile

for path in sys.argv[1:]:
    with zipfile.ZipFile(path) as wheel:
        name = next(each for each in wheel.namelist() if each.endswith(".dist-info/WHEEL"))
        assert b"Root-Is-Purelib: false" in wheel.read(name), f"{path} is none of a platform"
END
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --quiet --disable-pip-version-check install "$package" "$tool"
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
env -u CET_LIBRARY -u PYTHONPATH -u LD_LIBRARY_PATH venv/bin/cet-onnx compress "$digits/model.onnx" tool.onnx --data "$digits/calibration.npz" \
  --target-ratio 8 --method uniform --coding affine --samples 64 --quiet --json >summary.json
[ -s tool.onnx ] && [ -s summary.json ]
env -u CET_LIBRARY -u PYTHONPATH -u LD_LIBRARY_PATH -u CET_ONNX venv/bin/python - "$digits" <<'END'
import sys

import cet

digits = sys.argv[1]
model, data = cet.Model(f"{digits}/model.onnx"), cet.Calibration.from_npz(f"{digits}/calibration.npz")
plan = cet.plan(model, data, target_ratio=8, samples=64, method="uniform", coding="affine")
cet.report("report.html", f"{digits}/model.onnx", plan)
END
[ -s report.html ]

# Beside others that bring a BLAS, an OpenMP and a oneDNN along, loaded before and after: the same bytes as alone.
"$work/venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-deps --target "$work/beside" "$package"
for order in "cet onnxruntime torch" "onnxruntime torch cet"; do
  env -u CET_LIBRARY -u LD_LIBRARY_PATH PYTHONPATH="$work/beside" "$sources/.venv/bin/python" - "$digits" "$order" <<'END'
import importlib
import sys

import numpy as np

digits, order = sys.argv[1:]
found = {}
for name in order.split():
    try:
        found[name] = importlib.import_module(name)
    except ImportError:
        assert name != "cet"
cet = found["cet"]
model, data = cet.Model(f"{digits}/model.onnx"), cet.Calibration.from_npz(f"{digits}/calibration.npz")


def small():
    plan = cet.plan(model, data, target_ratio=8, samples=64, method="uniform", coding="affine")
    return cet.quantize(model, data, plan).to_bytes()


before = small()
if "torch" in found:
    a = found["torch"].ones(300, 300)
    assert (a @ a)[0, 0] == 300
if "onnxruntime" in found:
    session = found["onnxruntime"].InferenceSession(before, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    x = np.load(f"{digits}/calibration.npz")[name][:4]
    theirs, ours = session.run(None, {name: x})[0], next(iter(cet.run(cet.Model(before), {name: x}).values()))
    assert np.abs(theirs - ours).max() < 1e-3 * np.abs(ours).max()
assert small() == before
print(f"check-wheel: beside {', '.join(name for name in found if name != 'cet') or 'nothing'}")
END
done

# The source package has no library.
"$sources/.venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-deps --no-build-isolation --target "$work/source" "$build"/cet-*.tar.gz
CET_LIBRARY="$build/lib/libcet.so" PYTHONPATH="$work/source" "$sources/.venv/bin/python" -c "
import cet
assert cet.__file__.startswith('$work/source'), cet.__file__
cet.Model('$digits/model.onnx')"
"$sources/tools/check-private.sh" "$(echo "$work"/venv/lib/python*/site-packages/cet/libcet.so.*)" "$build"
