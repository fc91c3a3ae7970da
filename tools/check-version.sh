#!/bin/sh
# The version is one: the header's, and all that must follow it does (docs/adr/0053).
set -eu
cd "$(dirname "$0")/.."
failed=0
same() { # what, expected, found
  [ "$2" = "$3" ] || { echo "$1 is '$3', expected '$2'" >&2; failed=1; }
}

# The rule, on versions of the future.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rule() { # major, minor, patch, SONAME, node
  printf '#define CET_VERSION_MAJOR %s\n#define CET_VERSION_MINOR %s\n#define CET_VERSION_PATCH %s\n' "$1" "$2" "$3" >"$work/cet.h"
  same "version of $1.$2.$3" "$1.$2.$3" "$(tools/version.sh version "$work/cet.h")"
  same "SONAME of $1.$2.$3" "$4" "$(tools/version.sh soname "$work/cet.h")"
  same "symbol version of $1.$2.$3" "$5" "$(tools/version.sh node "$work/cet.h")"
}
rule 0 1 7 libcet.so.0.1 CET_0.1
rule 0 2 0 libcet.so.0.2 CET_0.2
rule 1 0 0 libcet.so.1 CET_1
rule 2 13 4 libcet.so.2 CET_2

version=$(tools/version.sh version)
same "CompressionPlan.libraryVersion" "$version" \
  "$(sed -n 's/.*static let libraryVersion = "\(.*\)"/\1/p' Sources/Cet/CompressionPlan.swift)"
same "the Python package's version" "$version" "$(sed -n 's/^__version__ = "\(.*\)"/\1/p' bindings/python/cet/version.py)"
# What the Python package looks for, by its own lines.
loader=$(cd bindings/python/cet &&
  { cat version.py; sed -n '/^_major, _minor/,/^_SONAME/p' library.py; echo 'print(_SONAME)'; } | python3 -)
same "the library that the Python package loads" "$(tools/version.sh soname)" "$loader"
[ "$failed" = 0 ] || exit 1
echo "check-version: $version, $(tools/version.sh soname), $(tools/version.sh node)"
