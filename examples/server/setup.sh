#!/bin/sh
# Makes the server's private Python environment, examples/server/.venv, from requirements.txt. Does nothing while these are the same.
set -eu
cd "$(dirname "$0")"
if cmp -s requirements.txt .venv/installed; then exit 0; fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: Python 3.11 or later is needed" >&2; exit 1; }
echo "setup: installing examples/server/requirements.txt"
.venv/bin/python -c '' 2>/dev/null || { rm -rf .venv; python3 -m venv .venv; }
.venv/bin/python -m pip --quiet --disable-pip-version-check install -r requirements.txt
cp requirements.txt .venv/installed
