#!/bin/sh
# Builds the fuzzers and runs one: see docs/fuzzing.md.
# usage: Fuzz/run.sh FUZZER MINUTES      (model, npz, npy, plan, session, spectrum, whole)
# Inputs that ended a process are left in build/fuzz/findings/FUZZER; the status is 1 when there are any.
set -eu
cd "$(dirname "$0")/.."
fuzzer=$1
minutes=$2
out=build/fuzz
[ -d "Tests/Fixtures/fuzz/$fuzzer" ] || { echo "fuzz: there is no fuzzer '$fuzzer'" >&2; exit 2; }
Fuzz/build.sh
findings=$out/findings/$fuzzer
mkdir -p "$out/corpus/$fuzzer" "$findings"
dictionary=""
[ ! -f "$out/seeds/$fuzzer.dict" ] || dictionary="-dict=$out/seeds/$fuzzer.dict"
# One process at a time, which ends with a finding and is followed by the next. Ten seconds instrumented are two without.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 SWIFT_BACKTRACE=enable=no
export ASAN_OPTIONS="detect_stack_use_after_return=0:quarantine_size_mb=64:${ASAN_OPTIONS:-}"
# shellcheck disable=SC2086
"$out/$fuzzer" -fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 -max_total_time=$((minutes * 60)) -timeout=10 \
  -rss_limit_mb=2048 -max_len=65536 -artifact_prefix="$findings/" $dictionary "$out/corpus/$fuzzer" "$out/seeds/$fuzzer" \
  "Tests/Fixtures/fuzz/$fuzzer"
found=$(find "$findings" -type f ! -name 'slow-unit*' | wc -l)
echo "fuzz: $fuzzer: $found findings in $minutes minutes"
[ "$found" = 0 ]
