#!/bin/sh
# Prints the folder of onnxruntime_c_api.h: the system's, or that of Debian's package libonnxruntime-dev unpacked into DIR.
# Debian 12 has no such package: there Debian 13's is taken (the header alone; nothing is installed).
# usage: examples/server/headers.sh DIR
set -eu
mkdir -p "$1"
into=$(cd "$1" && pwd)
name=onnxruntime_c_api.h

for folder in /usr/include/onnxruntime /usr/local/include/onnxruntime "$into/usr/include/onnxruntime"; do
  if [ -f "$folder/$name" ]; then echo "$folder"; exit 0; fi
done
command -v apt-get >/dev/null || { echo "headers: no $name here, and no apt-get to fetch it with" >&2; exit 1; }

# The system's own sources with another release's name; lists and packages of its own.
unpack() {
  (cd "$into" && apt-get "$@" download libonnxruntime-dev >/dev/null 2>&1 && dpkg-deb -x libonnxruntime-dev_*.deb .)
}
if ! unpack; then
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mkdir -p "$into/apt/parts" "$into/apt/lists/partial" "$into/apt/cache/archives/partial"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
    [ ! -f "$file" ] || sed "s/\b$codename\b/trixie/g" "$file" >"$into/apt/parts/$(basename "$file")"
  done
  set -- -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$into/apt/parts" \
    -o "Dir::State::lists=$into/apt/lists" -o "Dir::Cache=$into/apt/cache"
  apt-get "$@" -qq update >/dev/null && unpack "$@" || { echo "headers: apt-get offers no libonnxruntime-dev" >&2; exit 1; }
fi
echo "$into/usr/include/onnxruntime"
