#!/bin/sh
# Builds the library with AddressSanitizer and counters of what runs, the fuzzers over it (into build/fuzz), and their seeds.
set -eu
cd "$(dirname "$0")/.."
scratch=.build-fuzz
out=build/fuzz
swift build --scratch-path $scratch -c release --product cet -Xswiftc -DFUZZING -Xswiftc -sanitize=address \
  -Xswiftc -sanitize-coverage=edge,trace-cmp,indirect-calls,inline-8bit-counters,pc-table -Xcc -fsanitize=address,fuzzer-no-link

# The fuzzers are linked to it as any program is: libFuzzer counts what shared libraries cover, too. By Swift's own clang: the
# run times must be of one version.
clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
mkdir -p $out
for fuzzer in model npz npy plan session spectrum whole; do
  sources="Fuzz/$fuzzer.c Fuzz/limits.c"
  case $fuzzer in model | whole) sources="$sources Fuzz/wire.c" ;; esac
  # shellcheck disable=SC2086
  "$clang" -fuse-ld=lld -g -O1 -fsanitize=fuzzer,address -Iinclude $sources -o "$out/$fuzzer" -rdynamic \
    -L$scratch/release -lcet "-Wl,-rpath,$PWD/$scratch/release"
done
if [ ! -d $out/seeds ]; then CET_LIBRARY=$PWD/build/lib/libcet.so .venv/bin/python Fuzz/seeds.py $out/seeds; fi
