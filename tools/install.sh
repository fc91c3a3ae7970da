#!/bin/sh
# Copies the staged library, headers, tool with its manual and completions, and package descriptions; debug symbols stay in FROM/lib/debug.
# usage: tools/install.sh FROM PREFIX DESTDIR
set -eu
cd "$(dirname "$0")/.."
from=$1 prefix=$2 destination=$3
case $prefix in /*) ;; *) echo "install: PREFIX must be an absolute path, not '$prefix'" >&2; exit 1 ;; esac

target=$destination$prefix
mkdir -p "$target"
(cd "$from" && tar cf - --owner=0 --group=0 --exclude=lib/debug lib bin include share) | (cd "$target" && tar xf - --no-same-owner)
# The system's own prefix: let the loader know the new library.
if [ -z "$destination" ] && [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi
echo "installed in $target"
