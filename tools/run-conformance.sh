#!/bin/sh
# Compiles the headers in every language version they promise, with gcc and, where it is, with clang; then builds and runs
# the programs of Tests/Conformance against a built libcet.so, and abi/*/program.c, which was linked with a former header.
# With programs named it builds and runs these alone.
# usage: tools/run-conformance.sh [libcet.so] [program...]      (default: the distribution build, all programs)
# CC and WRAPPER (for instance "valgrind -q --error-exitcode=9") may be set.
set -eu
cd "$(dirname "$0")/.."
library=${1:-.build-dist/release/libcet.so}
[ $# -eq 0 ] || shift
[ -f "$library" ] || { echo "run-conformance: no $library; make lib builds it" >&2; exit 1; }
cc=${CC:-cc}
cxx=${CXX:-c++}
warnings="-Wall -Wextra -Werror -pedantic"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
soname=$(tools/version.sh soname)
cp "$library" "$work/$soname"
ln -s "$soname" "$work/libcet.so"

headers() {
  compilers="$cc,$cxx"
  if command -v clang++ >/dev/null; then compilers="$compilers clang,clang++"; fi
  for compiler in $compilers; do
    # c2x and c++2b: the names of C23 and C++23 that older compilers know, too.
    for standard in c99 c11 c17 c2x; do
      ${compiler%,*} -x c -std=$standard $warnings -Iinclude -fsyntax-only Tests/Conformance/header.c
    done
    for standard in c++11 c++14 c++17 c++20 c++2b; do
      ${compiler#*,} -x c++ -std=$standard $warnings -Iinclude -fsyntax-only Tests/Conformance/header.c
    done
    for standard in c++17 c++20 c++2b; do
      ${compiler#*,} -std=$standard $warnings -fno-exceptions -fno-rtti -Iinclude -fsyntax-only Tests/Conformance/wrapper.cpp
    done
  done
  echo "headers: ok as C99, C11, C17, C23 and C++11, 14, 17, 20, 23; the wrapper from C++17 on ($compilers)"
}

failed=0
# Compiles a program and runs it: its name, then the compiler with what belongs to the program.
try() {
  program=$1
  shift
  "$@" $warnings -g -o "$work/$program" -L"$work" -lcet -lpthread -lm -Wl,-rpath,"$work"
  ${WRAPPER:-} "$work/$program" Tests/Fixtures "$work" || { echo "$program: exit status $?" >&2; failed=1; }
}
if [ $# -eq 0 ]; then
  headers
  set -- header status host threads forks handles calibration models sources eigensolve communicator pipeline session files addresses errors exchange executor
  old=abi/$(tools/version.sh abi) # what was linked with the baseline's header runs with today's library
  try old-program $cc -std=c99 "-I$old" "$old/program.c"
  for standard in c++17 c++20; do
    try "wrapper-$standard" $cxx -std=$standard -Iinclude Tests/Conformance/wrapper.cpp
  done
fi
for program in "$@"; do try "$program" $cc -std=c99 -Iinclude "Tests/Conformance/$program.c"; done
exit $failed
