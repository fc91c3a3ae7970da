#!/bin/sh
# Compares what libcet.so exports with what include/cet/cet.h declares, both ways, and checks the library's name
# and what it needs at run time.
# usage: tools/check-exports.sh [libcet.so]      (default: the distribution build)
set -eu
cd "$(dirname "$0")/.."
library=${1:-.build-dist/release/libcet.so}
[ -f "$library" ] || { echo "check-exports: no $library; make lib builds it" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -oE '^CET_API [^(]*\(' include/cet/cet.h | grep -oE 'cet_[a-z0-9_]+\($' | tr -d '(' | sort >"$work/declared"
# Names with their version, "cet_free@@CET_0.1"; the version's node is itself an absolute symbol.
nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' >"$work/versioned"
sed 's/@.*//' "$work/versioned" | sort >"$work/exported"

failed=0
[ -s "$work/declared" ] || { echo "check-exports: no declarations found in the header" >&2; exit 1; }
if [ -n "$(uniq -d "$work/declared")" ]; then
  echo "declared twice: $(uniq -d "$work/declared" | tr '\n' ' ')" >&2
  failed=1
fi
missing=$(comm -23 "$work/declared" "$work/exported")
extra=$(comm -13 "$work/declared" "$work/exported")
[ -z "$missing" ] || { echo "declared but not exported:"; echo "$missing"; failed=1; } >&2
[ -z "$extra" ] || { echo "exported but not declared:"; echo "$extra"; failed=1; } >&2

readelf -d "$library" >"$work/dynamic"
soname=$(sed -n 's/.*SONAME.*\[\(.*\)\].*/\1/p' "$work/dynamic")
expected=$(tools/version.sh soname)
[ "$soname" = "$expected" ] || { echo "SONAME is '$soname', expected $expected" >&2; failed=1; }
node=$(tools/version.sh node)
strangers=$(grep -v "@@$node\$" "$work/versioned" | tr '\n' ' ' || true)
[ -z "$strangers" ] || { echo "not of version $node: $strangers" >&2; failed=1; }
sed -n 's/.*NEEDED.*\[\(.*\)\].*/\1/p' "$work/dynamic" >"$work/needed"
# C and C++ run time, and the numeric libraries; above all no Swift library.
foreign=$(grep -vE '^(libc|libm|libgcc_s|libstdc\+\+|ld-linux-x86-64|ld-linux-aarch64|libopenblas|libdnnl|libgomp|libz)\.so' \
  "$work/needed" || true)
[ -z "$foreign" ] || { echo "needs at run time:"; echo "$foreign"; failed=1; } >&2
# SwiftPM adds a run path to the library's own folder, which a wheel needs; any other names a build machine.
runpath=$(sed -nE 's/.*\((RPATH|RUNPATH)\).*\[(.*)\].*/\2/p' "$work/dynamic")
case $runpath in '' | '$ORIGIN') ;; *) echo "run path is '$runpath', expected \$ORIGIN" >&2; failed=1 ;; esac
# What keeps it small is in docs/adr/0059.
strip -o "$work/stripped" "$library"
bytes=$(wc -c <"$work/stripped")
[ "$bytes" -le 10000000 ] || { echo "the library has $bytes bytes, expected at most 10000000" >&2; failed=1; }
[ "$failed" = 0 ] || exit 1
echo "check-exports: $bytes bytes, $(wc -l <"$work/exported") functions of $node, $soname, needs $(tr '\n' ' ' <"$work/needed")"
