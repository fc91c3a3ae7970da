#!/bin/sh
# `make clean` removes what was built and nothing else: tried on a copy of the sources.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r Makefile include tools "$work"
mkdir -p "$work/build/lib" "$work/.build/release" "$work/.build-dist/release" "$work/.build-dist-tool/release" "$work/.venv/bin"
make --no-print-directory -C "$work" clean
left=$(cd "$work" && LC_ALL=C ls -A | tr '\n' ' ')
[ "$left" = ".venv Makefile include tools " ] || { echo "check-clean: left is $left" >&2; exit 1; }
echo "check-clean: sources and .venv stay"
