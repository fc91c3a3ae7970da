#!/bin/sh
# Copies the staged library, headers, tool with its manual, completions and helper, and package descriptions; debug symbols stay in FROM/lib/debug.
# usage: tools/install.sh FROM PREFIX DESTDIR
set -eu
cd "$(dirname "$0")/.."
from=$1 prefix=$2 destination=$3
case $prefix in /*) ;; *) echo "install: PREFIX must be an absolute path, not '$prefix'" >&2; exit 1 ;; esac

target=$destination$prefix
mkdir -p "$target"
parts="lib bin include share"
[ ! -d "$from/libexec" ] || parts="$parts libexec" # onnx-judge, where libonnx-dev was there to build it
# shellcheck disable=SC2086 # one word per folder
(cd "$from" && tar cf - --owner=0 --group=0 --exclude=lib/debug $parts) | (cd "$target" && tar xf - --no-same-owner)
# The system's own prefix: let the loader know the new library.
if [ -z "$destination" ] && [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi
echo "installed in $target"
