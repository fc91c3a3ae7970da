#!/bin/sh
# Arrows go down only: a module imports what is listed for it here and nothing else. No module of the library
# imports Foundation.
set -eu
cd "$(dirname "$0")/.."

allowed() {
  case $1 in
  CetTensor) echo "CKernels COpenBLAS COneDNN" ;;
  CetFormats) echo "CetTensor CZlib" ;;
  CetGraph) echo "CetTensor" ;;
  CetONNX) echo "CetTensor CetFormats CetGraph" ;;
  CetOperators) echo "CetTensor CetGraph" ;;
  CetLayers) echo "CetTensor CetFormats CetGraph CetOperators" ;;
  CetAutodiff) echo "CetTensor CetGraph CetOperators" ;;
  # Dense solvers and vector kernels in double precision.
  CetSpectral) echo "CetTensor COpenBLAS CKernels" ;;
  CetQuantize) echo "CetTensor COpenBLAS CKernels" ;;
  CetAllocate) echo "CetTensor CetSpectral CetQuantize COpenBLAS CKernels" ;;
  CetEncode) echo "CetTensor CetGraph CetONNX CetLayers CetQuantize" ;;
  CetMeasure) echo "CetTensor CetGraph CetOperators CetAutodiff CetQuantize CetLayers" ;;
  Cet) echo "CetTensor CetFormats CetGraph CetONNX CetOperators CetLayers CetAutodiff CetSpectral CetQuantize CetAllocate CetEncode CetMeasure" ;;
  CetABI) echo "CetTensor Cet CCet CDLPack" ;;
  *) return 1 ;;
  esac
}

failed=0
for folder in Sources/*/; do
  module=$(basename "$folder")
  files=$(find "$folder" -name '*.swift')
  [ -n "$files" ] || continue
  list=$(allowed "$module") || { echo "$module: not in tools/check-arrows.sh" >&2; failed=1; continue; }
  # "import X", "import struct X.Y", with or without attributes and access levels.
  imports=$(grep -hE '^ *(@[A-Za-z_]+(\([^)]*\))? +|public +|package +|internal +|fileprivate +|private +)*import ' $files |
    sed -E 's/.*import +((struct|class|enum|protocol|typealias|func|let|var) +)?([A-Za-z_0-9]+).*/\3/' | sort -u)
  for import in $imports; do
    case " $list Glibc Synchronization " in
    *" $import "*) ;;
    *)
      echo "$module may not import $import: $(grep -lE "import .*\b$import\b" $files | tr '\n' ' ')" >&2
      failed=1
      ;;
    esac
  done
done

# The tool is a client of the C interface alone.
if [ -d examples/cet-onnx ]; then
  inner=$(grep -rnE '^ *(@testable +)?import +Cet[A-Z]*' examples/cet-onnx --include='*.swift' || true)
  [ -z "$inner" ] || { echo "examples/cet-onnx imports the library's modules:"; echo "$inner"; failed=1; } >&2
fi
[ "$failed" = 0 ] || exit 1
echo "check-arrows: all imports go down"
