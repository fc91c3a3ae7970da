#!/bin/sh
# Lays what was built out as it is installed, under a folder that can be used in place. Debug symbols are left in files
# of their own, which debuggers find by build id below LIBDIR/debug.
# usage: tools/stage.sh FROM TO [LIBDIR]      (LIBDIR: where libraries are below a prefix; default lib)
set -eu
cd "$(dirname "$0")/.."
from=$1 to=$2 libdir=${3:-lib}
version=$(tools/version.sh version)
soname=$(tools/version.sh soname)

rm -rf "${to:?}/${libdir%%/*}" "$to/bin" "$to/include" "$to/share" "$to/libexec"
lib=$to/$libdir
mkdir -p "$lib/pkgconfig" "$lib/cmake/cet" "$to/bin" "$to/include/cet" "$to/share/man/man1"

# Copies a program or library without its symbols, which go to LIBDIR/debug/.build-id/XX/REST.debug.
place() { # mode, from, to
  install -m "$1" "$2" "$3"
  id=$(readelf -n "$3" | sed -n 's/.*Build ID: \([0-9a-f]*\)$/\1/p')
  [ -n "$id" ] || { echo "stage: $2 has no build id" >&2; exit 1; }
  rest=${id#??}
  symbols=$lib/debug/.build-id/${id%"$rest"}/$rest.debug
  mkdir -p "$(dirname "$symbols")"
  objcopy --only-keep-debug --compress-debug-sections "$3" "$symbols"
  chmod 644 "$symbols"
  strip --strip-unneeded "$3"
  objcopy --add-gnu-debuglink="$symbols" "$3"
}
place 644 "$from/libcet.so" "$lib/libcet.so.$version"
place 755 "$from/cet-onnx" "$to/bin/cet-onnx"
if [ -x "$from/onnx-judge" ]; then # it was built where libonnx-dev is
  mkdir -p "$to/libexec/cet"
  install -m 755 -s "$from/onnx-judge" "$to/libexec/cet/onnx-judge"
fi
ln -s "libcet.so.$version" "$lib/$soname"
ln -s "$soname" "$lib/libcet.so"
install -m 644 include/cet/cet.h include/cet/cet.hpp "$to/include/cet"
install -m 644 docs/cet-onnx.1 "$to/share/man/man1/cet-onnx.1"
# The tool writes the completions of its own options.
for place in bash:bash-completion/completions/cet-onnx zsh:zsh/site-functions/_cet-onnx fish:fish/vendor_completions.d/cet-onnx.fish; do
  completion=$to/share/${place#*:}
  mkdir -p "$(dirname "$completion")"
  LD_LIBRARY_PATH="$lib" "$to/bin/cet-onnx" --generate-completion-script "${place%%:*}" >"$completion"
  # A shell reads it, and nobody runs it: it is no program of bash.
  case $place in bash:*) sed -i '1{/^#!/d}' "$completion" ;; esac
done

# What the library itself is linked with. No program that uses the shared library needs it; linkers that look for everything
# at link time do (pkg-config --static). By name, because OpenBLAS's module would lay its header folder on every user.
names=""
for needed in $(readelf -d "$lib/libcet.so" | sed -n 's/.*NEEDED.*\[lib\(.*\)\.so\..*\]/\1/p'); do
  case $needed in
  c | gcc_s) ;;
  *) names="$names -l$needed" ;;
  esac
done

major=${version%%.*}
minor=${version#*.}
minor=${minor%%.*}
up=$(echo "pkgconfig/$libdir" | sed 's/[^/]*/../g') # from a folder in LIBDIR to the prefix
for template in cet.pc cetConfig.cmake cetConfigVersion.cmake; do
  case $template in *.pc) folder=pkgconfig ;; *) folder=cmake/cet ;; esac
  sed "s/@VERSION@/$version/; s/@MAJOR@/$major/; s/@MINOR@/$minor/; s/@SONAME@/$soname/; s|@UP@|$up|; s|@LIBDIR@|$libdir|
    s/@LIBS_PRIVATE@/${names# }/" \
    "link/$template.in" >"$lib/$folder/$template"
done
echo "libcet $version is in $to: $(wc -c <"$lib/libcet.so") bytes of library, $(du -sk "$lib/debug" | cut -f1) kB of debug symbols"
