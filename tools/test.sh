#!/bin/sh
# The tests; `tools/test.sh all`: also those marked `long`, and a comparison with PyTorch's speed. Each runner's own closing lines stay on
# the terminal; the last line sums up. Exits with the status of the first part that failed.
set -u
cd "$(dirname "$0")/.."
which=${1:-}
marked="not long"
[ "$which" != all ] || marked=""
started=$(date +%s)
failed=""
status=0

part() { # name, command
  name=$1
  shift
  echo
  echo "== $name"
  since=$(date +%s)
  "$@"
  result=$?
  echo "-- $name: $(($(date +%s) - since)) s"
  if [ $result != 0 ]; then
    failed="$failed, $name"
    [ $status != 0 ] || status=$result
  fi
  return $result
}

finish() {
  seconds=$(($(date +%s) - started))
  echo
  if [ $status = 0 ]; then
    echo "tests: all parts passed in $((seconds / 60)) min $((seconds % 60)) s"
  else
    echo "tests: failed: ${failed#, } (after $((seconds / 60)) min $((seconds % 60)) s)"
  fi
  exit $status
}

# The targets that users call come first, in the environment that these make for themselves.
part "library" make --no-print-directory lib || finish
part "demo" make --no-print-directory demo
part "wheel" make --no-print-directory wheel
part "set-up" tools/setup.sh tests || finish
# libonnx as a judge, where it is installed: libonnx 1.12 knows operator sets up to 17.
judge=$PWD/build/libexec/cet/onnx-judge
build_judge() { examples/onnx-judge/build.sh "$judge" || [ $? = 3 ]; }
part "judge" build_judge
if [ -x "$judge" ]; then
  CET_ONNX_JUDGE=$judge
  export CET_ONNX_JUDGE
fi
part "wheel used" tools/check-wheel.sh build
part "install" tools/check-install.sh build
part "imports" tools/check-arrows.sh
part "version" tools/check-version.sh
part "exports" tools/check-exports.sh build/lib/libcet.so
part "interface" tools/check-abi.sh
part "debug symbols" tools/check-symbols.sh build
# Swift's tests are optimised: with the arithmetic and at the speed that users get.
# The onnx package's own cases, for the Swift tests; models that the Swift tests write, for the Python tests.
CET_ONNX_CASES=$PWD/build/onnx-cases
export CET_ONNX_CASES
part "cases" .venv/bin/python tools/make_node_cases.py "$CET_ONNX_CASES"
CET_WRITTEN_MODELS=$PWD/build/written
export CET_WRITTEN_MODELS
mkdir -p "$CET_WRITTEN_MODELS"
part "corpus" env PYTHONPATH=Tests/python .venv/bin/python -m corpus build/corpus
CET_JUDGED_MODELS=$CET_ONNX_CASES:$PWD/build/corpus:/usr/share/libonnx-testdata/data
export CET_JUDGED_MODELS
part "Swift tests compiled" swift build --build-tests -c release -Xswiftc -enable-testing &&
  part "Swift tests" swift test --skip-build -c release -Xswiftc -enable-testing
part "C conformance" tools/run-conformance.sh build/lib/libcet.so
[ "$which" = all ] && .venv/bin/python -c 'import torch' 2>/dev/null &&
  part "bench" make --no-print-directory bench BENCHMARKS=bert_tiny BENCH_SPECTRUM=bert_tiny BENCH_OPTIONS="--rounds 1"
# A file of tests is one process's: two of them share two processors better than the threads of one. The order is conftest's.
# Files whose tests have limits of time run by themselves.
timed="Tests/python/test_hostile.py Tests/python/test_progress.py Tests/python/test_signals.py"
# shellcheck disable=SC2046,SC2086
part "Python tests" .venv/bin/python -m pytest -q -rs -m "$marked" -n 2 --dist loadfile --no-loadscope-reorder $(printf -- '--ignore=%s ' $timed) Tests/python
# shellcheck disable=SC2086
part "Python tests of time" .venv/bin/python -m pytest -q -rs -m "$marked" $timed
part "clean" tools/check-clean.sh
finish
