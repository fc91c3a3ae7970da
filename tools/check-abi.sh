#!/bin/sh
# Compares the interface with the two baselines of its version in abi/ (libabigail's abidiff): what a program may rely on that was
# linked with the version's first header, or with the latest that was accepted. Structs may grow at their end, enumerators and
# functions may be added; anything else is a break and needs another version (docs/adr/0053).
#
# The interface is taken from the header, by a library of empty functions that is compiled from it: libabigail does not
# read Swift's debug information. A callback's type becomes a function as well, cet_progress_fn_called and so on, because a change
# of the type alone counts as harmless. That libcet.so is what the header says is Swift's compiler's and check-exports.sh's to tell.
# usage: tools/check-abi.sh [accept]      (accept: make today's header the latest baseline)
set -eu
cd "$(dirname "$0")/.."
abi=$(tools/version.sh abi)
baseline=abi/$abi # libcet.abi is of the first header, which is beside it; latest.abi of the latest that was accepted
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The interface of a folder of headers, as abidw describes it. Enumerations get the name of the type before them, and a function
# that takes one: without they are told apart by their number alone, and a new one would be a change of all that follow.
describe() { # folder, output
  sed "s/@ABI@/$abi/" link/cet.map.in >"$work/cet.map"
  mkdir -p "$work/named/cet"
  sed -E '/^typedef int32_t (cet_[a-z_]+);$/ { h; p; s/^typedef int32_t (.*);$/enum \1_values {/; x; d; }
    /^enum \{/ { G; s/^enum \{(.*)\n(.*)$/\2\1/; }' "$1/cet/cet.h" >"$work/named/cet/cet.h"
  set -- "$work/named" "$2"
  {
    echo '#include <cet/cet.h>'
    sed -nE 's/^enum (cet_[a-z_]+_values).*/void \1_taken(enum \1 value) { __builtin_trap(); }/p' "$work/named/cet/cet.h"
    echo '#include <cet/cet.h>' | cc -E -P -x c -DCET_API=CET_FUNCTION "-I$1" - | tr '\n' ' ' | tr ';' '\n' |
      sed -n 's/^ *CET_FUNCTION \(.*\)$/\1 { __builtin_trap(); }/p
        s/^ *typedef \(.*\)(\*\(cet_[a-z_]*_fn\))\(.*\)$/\1 \2_called\3 { __builtin_trap(); }/p'
  } >"$work/functions.c"
  cc -std=c99 -g -fno-eliminate-unused-debug-types -fPIC -shared "-I$1" "$work/functions.c" -o "$work/libcet.so" \
    "-Wl,-soname=$(tools/version.sh soname)" "-Wl,--version-script=$work/cet.map"
  abidw --load-all-types --no-show-locs --no-corpus-path --no-comp-dir-path --out-file "$2" "$work/libcet.so"
}

if [ "${1:-}" = accept ]; then
  if [ ! -f "$baseline/libcet.abi" ]; then
    mkdir -p "$baseline/cet"
    cp include/cet/cet.h "$baseline/cet/cet.h"
    describe "$baseline" "$baseline/libcet.abi"
  fi
  describe include "$baseline/latest.abi"
  echo "check-abi: $baseline/latest.abi is of today's header"
  exit
fi

compare() { abidiff --suppressions abi/suppressions.ini --non-reachable-types --no-added-syms "$1" "$2"; }
describe include "$work/today.abi"
for former in "$baseline/libcet.abi" "$baseline/latest.abi"; do
  [ -f "$former" ] || { echo "check-abi: no $former; \`tools/check-abi.sh accept\` makes it" >&2; exit 1; }
  compare "$former" "$work/today.abi" || { echo "check-abi: include/cet/cet.h breaks the interface of $former" >&2; exit 1; }
done

# The comparison itself: what it must tell and what it must let pass.
try() { # pass|fail, edit of the header, what it is
  rm -rf "$work/edited"
  cp -r include "$work/edited"
  sed -i "$2" "$work/edited/cet/cet.h"
  ! cmp -s include/cet/cet.h "$work/edited/cet/cet.h" || { echo "check-abi: the edit '$3' finds no place" >&2; exit 1; }
  describe "$work/edited" "$work/edited.abi"
  if compare "$work/today.abi" "$work/edited.abi" >/dev/null; then found=pass; else found=fail; fi
  [ $found = "$1" ] || { echo "check-abi: $3 is a $found for abidiff, expected $1" >&2; exit 1; }
}
try pass 's/^} cet_save_options;/  uint64_t more;\n&/' "a field at a struct's end"
try pass 's/^CET_API void cet_free(/CET_API void cet_new(void);\n&/' "a new function"
try pass 's/CET_INTERNAL = -11/&, CET_NEW = -12/' "a new enumerator"
try pass 's/^typedef int32_t cet_status;/typedef int32_t cet_new;\nenum { CET_NEW = 1, CET_NEWER = 2 };\n&/' "a new enumeration"
try fail 's/^  cet_method method;/  uint64_t more;\n&/' "a field within a struct"
try fail 's/CET_IO = -7/CET_IO = -17/' "an enumerator's value"
try fail '/^CET_API void cet_free(/d' "a function that is gone"
try fail 's/^CET_API void cet_free(void \*/CET_API void cet_free(int size, void */' "a parameter"
try fail '/^typedef .*cet_progress_fn/s/uint64_t done/uint32_t done/' "a callback's parameter"
try fail '/^CET_API cet_status cet_set_progress(/d' "a function of a later header that is gone"
try fail 's/^} cet_tensor;/  uint64_t more;\n&/' "a field at the end of cet_tensor, which is passed in arrays"
echo "check-abi: programs linked with the baselines of $abi go on with today's header"
