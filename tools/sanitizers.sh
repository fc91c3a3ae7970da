#!/bin/sh
# The C programs of Tests/Conformance, and the fuzzers over what they have found, under sanitizers: see docs/fuzzing.md.
# usage: tools/sanitizers.sh [address] [thread] [valgrind]     (default: all; valgrind needs build/, which `make lib` makes)
set -u
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- address thread valgrind
toolchain=$(dirname "$(readlink -f "$(command -v swiftc)")") # Swift's own clang: the run times must be of one version
# The Swift runtime of a development build installs handlers for crashes, which are the sanitizers' (and no host sees those).
export SWIFT_BACKTRACE=enable=no
export OPENBLAS_NUM_THREADS=2
# OpenMP's threads would wait for each other actively, on processors that the instrumented ones need.
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
failed=""
started=$(date +%s)

part() { # name, command
  name=$1
  shift
  echo
  echo "== $name"
  since=$(date +%s)
  "$@" || failed="$failed, $name"
  echo "-- $name: $(($(date +%s) - since)) s"
}

# A limit on addresses leaves no room for a sanitizer's shadow: without `addresses`.
programs="status host threads handles calibration models sources eigensolve communicator pipeline session files errors exchange executor"

address() {
  Fuzz/build.sh || return 1
  for fuzzer in model npz npy plan session spectrum whole; do
    # Each input once: what was found, and what the fuzzer starts from.
    build/fuzz/$fuzzer -runs=0 -timeout=20 -rss_limit_mb=2048 "Tests/Fixtures/fuzz/$fuzzer" build/fuzz/seeds/$fuzzer \
      >build/fuzz/$fuzzer.log 2>&1 || { tail -40 build/fuzz/$fuzzer.log; return 1; }
    echo "$fuzzer: $(tail -1 build/fuzz/$fuzzer.log)"
  done
  # `host` looks at the handlers of signals; a crash ends a program without the sanitizer's, too.
  # shellcheck disable=SC2086
  ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:handle_sigfpe=0 CC="$toolchain/clang -fsanitize=address -fuse-ld=lld" tools/run-conformance.sh .build-fuzz/release/libcet.so $programs
}

thread() {
  swift build --scratch-path .build-thread -c release --product cet -Xswiftc -sanitize=thread -Xcc -fsanitize=thread || return 1
  swift=$toolchain/../lib/swift/linux # ThreadSanitizer's run time refers to libdispatch
  # shellcheck disable=SC2086
  TSAN_OPTIONS="ignore_noninstrumented_modules=1:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:exitcode=66" \
    CC="$toolchain/clang -fsanitize=thread -fuse-ld=lld -L$swift -ldispatch -lBlocksRuntime -Wl,-rpath,$swift" \
    tools/run-conformance.sh .build-thread/release/libcet.so $programs
}

valgrind_() {
  # shellcheck disable=SC2086
  WRAPPER="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite \
    --num-callers=30" tools/run-conformance.sh build/lib/libcet.so $programs
}

for kind in "$@"; do
  case $kind in
    address) part "AddressSanitizer" address ;;
    thread) part "ThreadSanitizer" thread ;;
    valgrind) part "Valgrind" valgrind_ ;;
    *) echo "usage: tools/sanitizers.sh [address] [thread] [valgrind]" >&2; exit 2 ;;
  esac
done
echo
[ -z "$failed" ] || { echo "sanitizers: failed: ${failed#, } (after $(($(date +%s) - started)) s)"; exit 1; }
echo "sanitizers: nothing found, in $(($(date +%s) - started)) s"
