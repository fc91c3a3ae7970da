#!/bin/sh
# The version that the header states, and the names that follow from it (docs/adr/0053):
#   version   0.1.0
#   abi       0.1 (major.minor) before 1.0, then the major version alone: what a break of the interface changes
#   soname    libcet.so.ABI
#   node      CET_ABI, the symbols' version
# usage: tools/version.sh version|abi|soname|node [HEADER]
set -eu
header=${2:-$(dirname "$0")/../include/cet/cet.h}

part() {
  number=$(sed -n "s/^#define CET_VERSION_$1 \([0-9][0-9]*\)\$/\1/p" "$header")
  [ -n "$number" ] || { echo "version: no CET_VERSION_$1 in $header" >&2; exit 1; }
  echo "$number"
}

major=$(part MAJOR)
minor=$(part MINOR)
patch=$(part PATCH)
abi=$major
[ "$major" != 0 ] || abi=0.$minor
case ${1:-} in
version) echo "$major.$minor.$patch" ;;
abi) echo "$abi" ;;
soname) echo "libcet.so.$abi" ;;
node) echo "CET_$abi" ;;
*) echo "usage: tools/version.sh version|abi|soname|node [HEADER]" >&2; exit 2 ;;
esac
