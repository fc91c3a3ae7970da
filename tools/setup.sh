#!/bin/sh
# Installs what is missing, and nothing else.
#   tools/setup.sh packages   system packages to build with
#   tools/setup.sh python     the same, and a private Python environment in .venv
#   tools/setup.sh packaging  the same, and what `make deb` and the checks of packages need
#   tools/setup.sh sanitizers the same as for python, and Valgrind
#   tools/setup.sh docs       the same as for python, and what `make site` needs
#   tools/setup.sh tests      the same as for python, and what the tests need beyond that
# Tests that compare with PyTorch need torch. It is installed when pip offers a CPU build of it, or when CI or
# CET_TORCH=1 is set: elsewhere pip's choice may be a CUDA build of several gigabytes. CET_TORCH=0 leaves it out.
set -eu
cd "$(dirname "$0")/.."
what=${1:-packages}

fail() {
  echo "setup: $*" >&2
  exit 1
}

# ---- System packages ----

missing=""
need() { # a package, and a command that succeeds when it is there by other means
  package=$1
  shift
  if [ $# -gt 0 ] && "$@" >/dev/null 2>&1; then return; fi
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  case $status in *"install ok installed") ;; *) missing="$missing $package" ;; esac
}

if command -v apt-get >/dev/null; then
  need libopenblas-dev
  need liblapacke-dev
  [ "${CET_ONEDNN:-1}" = 0 ] || need libdnnl-dev
  need zlib1g-dev
  need pkg-config command -v pkg-config
  need binutils command -v strip
  need python3 command -v python3
  if [ "$what" != packages ]; then
    need python3-venv python3 -c 'import ensurepip, venv'
  fi
  if [ "$what" = sanitizers ]; then need valgrind command -v valgrind; fi
  if [ "$what" = packaging ]; then
    need dpkg-dev command -v dpkg-shlibdeps
    need lintian command -v lintian
    need xz-utils command -v xz
    need cmake command -v cmake
  fi
  if [ "$what" = tests ]; then
    need gcc command -v cc
    need g++ command -v c++
    need cmake command -v cmake
    need abigail-tools command -v abidiff
    need libc6-dev test -f /usr/include/stdio.h
  fi
  install() { $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
  root=""
  [ "$(id -u)" = 0 ] || root="sudo"
  if [ -n "$missing" ]; then
    [ -z "$root" ] || command -v sudo >/dev/null ||
      fail "these packages are missing and this is neither root nor is there sudo:$missing"
    echo "setup: installing$missing"
    $root apt-get update -qq || fail "apt-get update failed"
    # shellcheck disable=SC2086 # one word per package
    install $missing || fail "apt-get could not install$missing"
  fi
  # Backend cases of ONNX 1.12, the version that the lists in Tests/Fixtures/conformance are for.
  if [ "$what" = tests ] && [ ! -d /usr/share/libonnx-testdata ]; then
    echo "setup: installing libonnx-testdata"
    { $root apt-get update -qq && install 'libonnx-testdata=1.12*'; } 2>/dev/null ||
      echo "setup: libonnx-testdata 1.12 is not offered here; its cases are left out"
  fi
  if [ "$what" = tests ] && [ ! -f /usr/include/onnx/checker.h ]; then
    echo "setup: installing libonnx-dev libprotobuf-dev"
    { $root apt-get update -qq && install libonnx-dev libprotobuf-dev; } 2>/dev/null ||
      echo "setup: libonnx-dev is not offered here; files are not judged by libonnx"
  fi
  if [ "$what" = tests ] && ! command -v mpirun >/dev/null; then
    echo "setup: installing openmpi-bin"
    { $root apt-get update -qq && install openmpi-bin; } 2>/dev/null ||
      echo "setup: openmpi-bin is not offered here; tests with several MPI processes are skipped"
  fi
else
  for tool in pkg-config strip; do
    command -v $tool >/dev/null || fail "no $tool here, and no apt-get to install it with"
  done
  echo "setup: no apt-get here; OpenBLAS, LAPACKE, oneDNN and zlib with their headers must be installed already"
fi
command -v swift >/dev/null || fail "no Swift here: install Swift 6.1 or later (6.3.1 is what it is tested with)"
[ "$what" != packages ] || exit 0

# ---- Python environment ----

pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }

# The mark holds the requirements that were installed: nothing is done while they are the same.
provide() { # file of requirements
  mark=.venv/$(basename "$1").installed
  if cmp -s "$1" "$mark"; then return; fi
  echo "setup: installing $1"
  pip install -r "$1" || return 1
  cp "$1" "$mark"
}

if ! .venv/bin/python -c '' 2>/dev/null; then
  rm -rf .venv
  python3 -m venv .venv || fail "python3 -m venv failed"
fi
provide tools/requirements.txt || fail "pip could not install tools/requirements.txt"
if [ "$what" = docs ]; then
  provide tools/requirements-docs.txt || fail "pip could not install tools/requirements-docs.txt"
fi
[ "$what" = tests ] || exit 0

provide tools/requirements-docs.txt || echo "setup: pip could not install what builds the site; its test is skipped"
provide tools/requirements-mpi.txt || echo "setup: pip could not install mpi4py; tests that need it are skipped"

# Runtimes that stand apart, each in a folder of its own: what else they need, the newest onnxruntime needs too.
beside() { # name, and so tools/requirements-NAME.txt and .venv/NAME
  list=tools/requirements-$1.txt
  if cmp -s "$list" ".venv/$1/installed"; then return; fi
  echo "setup: installing $list"
  rm -rf ".venv/$1"
  if pip install --no-deps --target ".venv/$1" -r "$list"; then
    cp "$list" ".venv/$1/installed"
  else
    echo "setup: pip could not install $list; the test that needs it is skipped"
  fi
}
beside old-runtime
beside middle-runtime
beside openvino

# ---- PyTorch ----

torch=tools/requirements-torch.txt
if [ "${CET_TORCH:-}" = 0 ] || cmp -s $torch .venv/requirements-torch.txt.installed; then exit 0; fi
wanted=${CET_TORCH:-${CI:+1}}
if [ "$wanted" != 1 ]; then
  offered=$(pip install --dry-run --no-deps --report - "$(grep '^torch' $torch)" 2>/dev/null |
    .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])' 2>/dev/null || true)
  case $offered in *+cpu) wanted=1 ;; esac
fi
if [ "$wanted" = 1 ]; then
  provide $torch || echo "setup: pip could not install $torch; tests that need it are skipped"
else
  echo "setup: PyTorch is not installed (CET_TORCH=1 installs it); tests that need it are skipped"
fi
