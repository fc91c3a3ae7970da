#!/bin/sh
# A library with private copies shares nothing with its host: a program whose functions of OpenBLAS, oneDNN, OpenMP and zlib
# end the process runs through, and no copy of the system's is opened. The staged library, which shares all that on
# purpose, shows that the program would notice.
# usage: tools/check-private.sh LIBRARY BUILD
set -eu
cd "$(dirname "$0")/.."
library=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The traps have the names of functions that compilers know, not their types.
cc -std=c99 -Wall -Wextra -Werror -pedantic -fno-builtin -rdynamic -Iinclude Tests/Conformance/own_libraries.c \
  -o "$work/program" "-L$build/lib" -lcet
folder=$(cd "$(dirname "$library")" && pwd)
[ -e "$folder/$(tools/version.sh soname)" ]

LD_LIBRARY_PATH="$folder" LD_DEBUG=libs LD_DEBUG_OUTPUT="$work/loaded" "$work/program" Tests/Fixtures
opened=$(sed -n 's/.*calling init: //p' "$work"/loaded.* | sort -u)
foreign=$(echo "$opened" | grep -vF "$folder/libcet" | grep -vE '/(ld-linux.*|libc|libm|libstdc\+\+|libgcc_s)\.so\.[0-9]+$' || true)
[ -z "$foreign" ] || { echo "check-private: opened $foreign" >&2; exit 1; }

status=0
LD_LIBRARY_PATH="$build/lib" "$work/program" Tests/Fixtures >/dev/null 2>&1 || status=$?
[ $status = 99 ] || { echo "check-private: the traps do not work: exit status $status with the staged library" >&2; exit 1; }
echo "check-private: $(echo "$opened" | grep -c /libcet-) private copies, none of the system's"
