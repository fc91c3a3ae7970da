#!/bin/sh
# Builds a fuzzer with AddressSanitizer and runs it: see docs/fuzzing.md.
# usage: Fuzz/run.sh FUZZER MINUTES      (model, npz, npy, plan, spectrum, whole)
# Inputs that ended a process are left in build/fuzz/findings/FUZZER; the status is 1 when there are any.
set -eu
cd "$(dirname "$0")/.."
fuzzer=$1
minutes=$2
scratch=.build-fuzz
out=build/fuzz
[ -f "Fuzz/$fuzzer.c" ] && [ "$fuzzer" != wire ] && [ "$fuzzer" != limits ] || { echo "fuzz: there is no fuzzer '$fuzzer'" >&2; exit 2; }

# The library is instrumented, the fuzzer linked to it as any program is: libFuzzer counts what shared libraries cover, too.
swift build --scratch-path $scratch -c release --product cet -Xswiftc -DFUZZING -Xswiftc -sanitize=address \
  -Xswiftc -sanitize-coverage=edge,trace-cmp,indirect-calls,inline-8bit-counters,pc-table -Xcc -fsanitize=address,fuzzer-no-link

# Swift's own clang: the sanitizer's run time is the library's.
clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
sources="Fuzz/$fuzzer.c Fuzz/limits.c"
case $fuzzer in model | whole) sources="$sources Fuzz/wire.c" ;; esac
mkdir -p $out "$out/corpus/$fuzzer" "$out/findings/$fuzzer"
# shellcheck disable=SC2086
"$clang" -fuse-ld=lld -g -O1 -fsanitize=fuzzer,address -Iinclude $sources -o "$out/$fuzzer" -rdynamic \
  -L$scratch/release -lcet -ldl "-Wl,-rpath,$PWD/$scratch/release"
[ -d $out/seeds ] || CET_LIBRARY=$PWD/build/lib/libcet.so .venv/bin/python Fuzz/seeds.py $out/seeds

dictionary=""
[ ! -f "$out/seeds/$fuzzer.dict" ] || dictionary="-dict=$out/seeds/$fuzzer.dict"
# One process at a time, which ends with a finding and is followed by the next. Ten seconds instrumented are two without.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
export ASAN_OPTIONS="detect_stack_use_after_return=0:quarantine_size_mb=64:${ASAN_OPTIONS:-}"
# shellcheck disable=SC2086
"$out/$fuzzer" -fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 -max_total_time=$((minutes * 60)) -timeout=10 \
  -rss_limit_mb=2048 -max_len=65536 -artifact_prefix="$out/findings/$fuzzer/" $dictionary "$out/corpus/$fuzzer" "$out/seeds/$fuzzer" \
  "Tests/Fixtures/fuzz/$fuzzer"
found=$(find "$out/findings/$fuzzer" -type f ! -name 'slow-unit*' | wc -l)
echo "fuzz: $fuzzer: $found findings in $minutes minutes"
[ "$found" = 0 ]
