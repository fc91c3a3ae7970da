#!/bin/sh
# `make install` below a DESTDIR: nothing lands elsewhere, what landed works from there and tells a compiler how to be
# used, and `make uninstall` leaves no file behind.
# usage: tools/check-install.sh BUILD
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
target=$work/opt/cet
make --no-print-directory install BUILD="$1" PREFIX=/opt/cet DESTDIR="$work"
[ "$(ls -A "$work")" = opt ] && [ "$(ls -A "$work/opt")" = cet ]
env -u LD_LIBRARY_PATH "$target/bin/cet-onnx" compress Tests/Fixtures/digits_cnn/model.onnx "$work/small.onnx" \
  --data Tests/Fixtures/digits_cnn/calibration.npz --target-ratio 8 --samples 64 --quiet

modules() { PKG_CONFIG_PATH="$target/lib/pkgconfig" pkg-config "$@" cet; }
[ "$(modules --modversion)" = "$(tools/version.sh version)" ]
# shellcheck disable=SC2046 # one word per flag
cc -x c $(modules --cflags) examples/c/custom_operator.c -o "$work/program" $(modules --libs) -lm "-Wl,-rpath,$target/lib"
env -u LD_LIBRARY_PATH "$work/program" >/dev/null
# What the library was linked with is named for those who ask, and for them alone.
case " $(modules --cflags --libs) " in *openblas*) echo "check-install: cet.pc lays OpenBLAS on every user" >&2; exit 1 ;; esac
for library in $(readelf -d "$target/lib/libcet.so" | sed -n 's/.*NEEDED.*\[lib\(openblas\|dnnl\|z\|gomp\)\.so.*/\1/p'); do
  case " $(modules --libs --static) " in
  *" -l$library "*) ;;
  *) echo "check-install: pkg-config --static does not name $library" >&2; exit 1 ;;
  esac
done

touch "$target/lib/pkgconfig/other.pc"
make --no-print-directory uninstall PREFIX=/opt/cet DESTDIR="$work"
left=$(cd "$target" && find . ! -type d)
[ "$left" = ./lib/pkgconfig/other.pc ] && [ ! -e "$target/include/cet" ] && [ ! -e "$target/lib/cmake/cet" ] ||
  { echo "check-install: make uninstall left $left" >&2; exit 1; }
echo "check-install: $("$1/bin/cet-onnx" --version) wrote $(wc -c <"$work/small.onnx") bytes"
