#!/bin/sh
# Debian packages of what was built: the shared library, the development files, the tool, and the debug symbols of both.
# What they depend on is found by dpkg-shlibdeps, and the tool's need of the library by the symbols that it uses.
# usage: tools/deb.sh FROM TO PATCHELF      (FROM: the folder of the distribution build; packages appear in TO)
# DEBFULLNAME and DEBEMAIL name the maintainer, DEB_REVISION the revision (default 1).
set -eu
cd "$(dirname "$0")/.."
from=$1
mkdir -p "$2"
to=$(cd "$2" && pwd)
patchelf=$(cd "$(dirname "$3")" && pwd)/$(basename "$3")
version=$(tools/version.sh version)-${DEB_REVISION:-1}
soname=$(tools/version.sh soname)
library=libcet$(tools/version.sh abi)
maintainer="${DEBFULLNAME:-libcet packages} <${DEBEMAIL:-packages@libcet.invalid}>"
architecture=$(dpkg --print-architecture)
libdir=lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools/stage.sh "$from" "$work/stage/usr" "$libdir" >/dev/null
stage=$work/stage/usr
# The loader's own folders need no run path.
"$patchelf" --remove-rpath "$stage/bin/cet-onnx"
"$patchelf" --remove-rpath "$stage/$libdir/libcet.so.$(tools/version.sh version)"
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$stage/bin/cet-onnx" \
  "$stage/$libdir/libcet.so.$(tools/version.sh version)"

# ---- Which files are whose ----

tree() { echo "$work/debian/$1"; }
put() { # package, file below usr...
  package=$1
  shift
  for file in "$@"; do
    mkdir -p "$(dirname "$(tree "$package")/usr/$file")"
    cp -a "$stage/$file" "$(tree "$package")/usr/$file"
  done
}
put "$library" "$libdir/libcet.so.$(tools/version.sh version)" "$libdir/$soname"
put libcet-dev include/cet/cet.h include/cet/cet.hpp "$libdir/libcet.so" "$libdir/pkgconfig/cet.pc" \
  "$libdir/cmake/cet/cetConfig.cmake" "$libdir/cmake/cet/cetConfigVersion.cmake"
put cet-onnx bin/cet-onnx share/bash-completion/completions/cet-onnx share/fish/vendor_completions.d/cet-onnx.fish
mkdir -p "$(tree cet-onnx)/usr/share/zsh/vendor-completions"
cp "$stage/share/zsh/site-functions/_cet-onnx" "$(tree cet-onnx)/usr/share/zsh/vendor-completions"
judge=libexec/cet/onnx-judge # there where libonnx-dev was to build it
if [ -x "$stage/$judge" ]; then
  strip --strip-unneeded --remove-section=.comment --remove-section=.note "$stage/$judge"
  put cet-onnx "$judge"
fi
mkdir -p "$(tree cet-onnx)/usr/share/man/man1"
gzip -9n <"$stage/share/man/man1/cet-onnx.1" >"$(tree cet-onnx)/usr/share/man/man1/cet-onnx.1.gz"
for package in "$library" cet-onnx; do
  case $package in cet-onnx) file=$stage/bin/cet-onnx ;; *) file=$stage/$libdir/$soname ;; esac
  id=$(readelf -n "$file" | sed -n 's/.*Build ID: \([0-9a-f]*\)$/\1/p')
  rest=${id#??}
  folder=$(tree "$package-dbgsym")/usr/lib/debug/.build-id/${id%"$rest"}
  mkdir -p "$folder"
  cp "$stage/$libdir/debug/.build-id/${id%"$rest"}/$rest.debug" "$folder"
  echo "$id" >"$work/$package.id"
  mkdir -p "$(tree "$package-dbgsym")/usr/share/doc"
  ln -s "$package" "$(tree "$package-dbgsym")/usr/share/doc/$package-dbgsym"
done

# ---- Documents of each package ----

cat >"$work/changelog" <<END
libcet ($version) unstable; urgency=medium

  * Release $(tools/version.sh version); see changelog.gz.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END
cat >"$work/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: libcet

Files: *
Copyright: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y) the authors of libcet
License: Apache-2.0
 On Debian systems the text of the Apache License 2.0 is in
 /usr/share/common-licenses/Apache-2.0.
Comment:
 The Swift run time (Apache-2.0 with Runtime Library Exception, the Swift project's
 authors) is linked into the library and the tool.
END
for package in "$library" libcet-dev cet-onnx; do
  documents=$(tree $package)/usr/share/doc/$package
  mkdir -p "$documents"
  cp "$work/copyright" "$documents/copyright"
  gzip -9n <"$work/changelog" >"$documents/changelog.Debian.gz"
  gzip -9n <CHANGELOG.md >"$documents/changelog.gz"
done

# ---- Control files ----

cat >"$work/debian/control" <<END
Source: libcet
Section: libs
Priority: optional
Maintainer: $maintainer

Package: $library
Architecture: any
Depends: \${shlibs:Depends}

Package: cet-onnx
Architecture: any
Depends: \${shlibs:Depends}
END
mkdir -p "$(tree "$library")/DEBIAN" "$(tree cet-onnx)/DEBIAN"
cd "$work"
echo "libcet ${soname#libcet.so.} $library (>= ${version%-*})" >"$(tree "$library")/DEBIAN/shlibs"
dpkg-gensymbols -q -p"$library" -v"${version%-*}" -P"$(tree "$library")" -O"$(tree "$library")/DEBIAN/symbols"
sed -i '1a * Build-Depends-Package: libcet-dev' "$(tree "$library")/DEBIAN/symbols"
echo "activate-noawait ldconfig" >"$(tree "$library")/DEBIAN/triggers"
depends() { # program or library: what it needs, by package
  dpkg-shlibdeps -O -S"$(tree "$library")" -l"$(tree "$library")/usr/$libdir" "$1" 2>"$work/warnings" | sed 's/^shlibs:Depends=//'
  # Symbols that the Swift run time holds for debuggers are none of dpkg-shlibdeps' business; a missing library is.
  ! grep -i "error" "$work/warnings" >&2
}
of_library=$(depends "$(tree "$library")/usr/$libdir/$soname")
of_tool=$(depends "$(tree cet-onnx)/usr/bin/cet-onnx")
# The tool works without libonnx; onnx-judge then does not start, which `cet-onnx check` says.
recommended=""
if [ -x "$(tree cet-onnx)/usr/$judge" ]; then
  recommended="Recommends: $(depends "$(tree cet-onnx)/usr/$judge" | tr ',' '\n' | grep -E 'onnx|protobuf' | sed 's/^ //' | paste -s -d, | sed 's/,/, /g')"
fi

control() { # package, section, depends, more fields, description
  root=$(tree "$1")
  mkdir -p "$root/DEBIAN"
  {
    echo "Package: $1"
    echo "Source: libcet"
    echo "Version: $version"
    echo "Architecture: $architecture"
    echo "Maintainer: $maintainer"
    echo "Installed-Size: $(du -k -s --apparent-size --exclude=DEBIAN "$root" | cut -f1)"
    echo "Depends: $3"
    echo "Section: $2"
    echo "Priority: optional"
    [ -z "$4" ] || echo "$4"
    echo "Description: $5"
  } >"$root/DEBIAN/control"
  (cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum) >"$root/DEBIAN/md5sums"
  find "$root" -type d -exec chmod 755 {} +
  find "$root" -type f ! -path '*/usr/bin/*' ! -path '*/usr/libexec/*' -exec chmod 644 {} +
  rm -f "$to/${1}_"*.deb
  dpkg-deb --root-owner-group -Zxz --build "$root" "$to/${1}_${version}_$architecture.deb" >/dev/null
}
what=" libcet reads an ONNX model and a few hundred calibration samples, chooses
 1 to 8 bits for every weight tensor so that a size target is met with the
 least loss, and writes a small ONNX file that a stock runtime opens."
control "$library" libs "$of_library" "Multi-Arch: same" "mixed-precision compression of ONNX models (shared library)
$what
 .
 This package has the shared library."
control libcet-dev libdevel "$library (= $version)" "Multi-Arch: same" "mixed-precision compression of ONNX models (development files)
$what
 .
 This package has the headers for C and C++, and the files for pkg-config
 and CMake."
control cet-onnx science "$of_tool" "$recommended" "mixed-precision compression of ONNX models (tool)
$what
 .
 This package has the command cet-onnx."
for package in "$library" cet-onnx; do
  control "$package-dbgsym" debug "$package (= $version)" "Auto-Built-Package: debug-symbols
Build-Ids: $(cat "$work/$package.id")$([ "$package" = cet-onnx ] || printf '\nMulti-Arch: same')" "debug symbols for $package"
done
ls -l "$to"/*_"${version}_$architecture".deb | awk '{ print $5, $NF }'
