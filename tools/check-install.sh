#!/bin/sh
# `make install` below a DESTDIR: nothing lands elsewhere, and what landed works from there.
# usage: tools/check-install.sh BUILD
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make --no-print-directory install BUILD="$1" PREFIX=/opt/cet DESTDIR="$work"
[ "$(ls -A "$work")" = opt ] && [ "$(ls -A "$work/opt")" = cet ]
env -u LD_LIBRARY_PATH "$work/opt/cet/bin/cet-onnx" compress Tests/Fixtures/digits_cnn/model.onnx "$work/small.onnx" \
  --data Tests/Fixtures/digits_cnn/calibration.npz --target-ratio 8 --samples 64 --quiet
echo "check-install: $("$work/opt/cet/bin/cet-onnx" --version) wrote $(wc -c <"$work/small.onnx") bytes"
