#!/bin/sh
# The staged library and tool have no debug symbols of their own and name the file that has them; it is found by build id
# and leads from an address to a line of source.
# usage: tools/check-symbols.sh BUILD
set -eu
cd "$(dirname "$0")/.."
build=$1
check() { # file, how functions of ours begin, where their source is
  id=$(readelf -n "$1" | sed -n 's/.*Build ID: \([0-9a-f]*\)$/\1/p')
  rest=${id#??}
  symbols=$build/lib/debug/.build-id/${id%"$rest"}/$rest.debug
  [ -f "$symbols" ] || { echo "check-symbols: no $symbols for $1" >&2; exit 1; }
  ! readelf -SW "$1" | grep -qE ' \.(debug_info|symtab) ' || { echo "check-symbols: $1 is not stripped" >&2; exit 1; }
  link=$(readelf -p .gnu_debuglink "$1" 2>/dev/null | sed -n 's/.*\] *\([0-9a-f]*\.debug\).*/\1/p')
  [ "$link" = "$rest.debug" ] || { echo "check-symbols: $1 links to '$link', not to $rest.debug" >&2; exit 1; }
  lines=$(nm "$symbols" | sed -n "s/^\([0-9a-f]*\) [Tt] $2.*/0x\1/p" | addr2line -e "$symbols" | grep -c "/$3[^:]*:[1-9?]" || true)
  [ "$lines" -gt 0 ] || { echo "check-symbols: no function $2... of $symbols leads to $3" >&2; exit 1; }
}
check "$build/lib/libcet.so" ck_ Sources/CKernels/
check "$build/bin/cet-onnx" '[$]s8cet_onnx' examples/cet-onnx/
echo "check-symbols: $(wc -c <"$build/lib/libcet.so") bytes of library, symbols apart"
