#!/bin/sh
# Compiles the header in every language version it promises, then builds and runs the C programs of
# Tests/Conformance against a built libcet.so.
# usage: tools/run-conformance.sh [libcet.so] [program...]      (default: the distribution build, all programs)
# CC, CXX and WRAPPER (for instance "valgrind -q --error-exitcode=9") may be set.
set -eu
cd "$(dirname "$0")/.."
library=${1:-.build-dist/release/libcet.so}
[ $# -eq 0 ] || shift
[ -f "$library" ] || { echo "run-conformance: no $library; build with CET_DIST=1" >&2; exit 1; }
cc=${CC:-cc}
cxx=${CXX:-c++}
warnings="-Wall -Wextra -Werror -pedantic"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$library" "$work/libcet.so.0"
ln -s libcet.so.0 "$work/libcet.so"

for standard in c99 c11; do
  $cc -x c -std=$standard $warnings -Iinclude -fsyntax-only Tests/Conformance/header.c
done
for standard in c++11 c++17; do
  $cxx -x c++ -std=$standard $warnings -Iinclude -fsyntax-only Tests/Conformance/header.c
done
echo "header: ok as C99, C11, C++11, C++17"

[ $# -gt 0 ] || set -- header status host handles calibration models eigensolve communicator pipeline files addresses
failed=0
for program in "$@"; do
  $cc -std=c99 $warnings -g -Iinclude "Tests/Conformance/$program.c" -o "$work/$program" \
    -L"$work" -lcet -lpthread -lm -Wl,-rpath,"$work"
  ${WRAPPER:-} "$work/$program" Tests/Fixtures || { echo "$program: exit status $?" >&2; failed=1; }
done
exit $failed
