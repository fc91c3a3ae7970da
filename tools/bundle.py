"""Puts private copies of the libraries that libcet.so needs beside it, so that it runs where they are not installed and
shares nothing with a host that has its own.

A file of another name is not enough for the latter: the loader resolves a symbol in the whole process, and a host's
OpenBLAS or OpenMP that was loaded first would get our calls. So every symbol that a copy defines is renamed, in the copies
and in libcet.so, which leaves the loader one place to find it. Files are named by their contents: two products that
bundle the same library in two versions do not meet either. Of OpenBLAS only what is called is in the copy (lean_openblas.py).

usage: bundle.py LIBRARY PATCHELF [DOCUMENTS]
    LIBRARY is changed in place. DOCUMENTS: a folder for the copyright files of what was copied, and a list (by dpkg).
    Prints the lowest glibc that all files together need, like 2.35.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import lean_openblas

# What every system with a C++ run time has; its versions are the only thing a bundle asks of a system.
SYSTEM = re.compile(r"(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux.*)\.so\.\d+$")
# The linker's own marks, which each file has for itself.
MARKS = {"_init", "_fini", "_edata", "_end", "__bss_start"}
PREFIX = "cet_private_"


def output(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def needed(path):
    """SONAME to file, of everything that the loader would load for this one."""
    found = {}
    for line in output("ldd", path).splitlines():
        if "not found" in line:
            sys.exit(f"bundle: {line.strip()}")
        match = re.match(r"\s*(\S+) => (\S+) ", line) or re.match(r"\s*(/\S+?([^/ ]+)) ", line)
        if match:
            name, file = (match[1], match[2]) if "=>" in line else (os.path.basename(match[1]), match[1])
            found[name] = Path(file)
    return found


def defined(path):
    symbols = (line.split() for line in output("nm", "-D", "--defined-only", path).splitlines())
    return {fields[-1].split("@")[0] for fields in symbols if fields[-2] != "A"}


def called(path):
    return {line.split()[-1].split("@")[0] for line in output("nm", "-D", "--undefined-only", path).splitlines()}


def direct(path):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", path))


def required_glibc(paths):
    versions = {version for path in paths for version in re.findall(r"Name: GLIBC_(\d+\.\d+)", output("readelf", "-V", path))}
    return max(versions, key=lambda version: tuple(map(int, version.split("."))))


def describe(copies, folder):
    """The licences that the copies come with, by Debian package."""
    if not shutil.which("dpkg"):
        print("bundle: no dpkg here; the licences of the copies must be put in by hand", file=sys.stderr)
        return
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, (source, copy) in sorted(copies.items()):
        # Package databases know a file by the name under /lib or under /usr/lib.
        places = [source, source.resolve(), *(Path(str(p).removeprefix("/usr")) for p in (source, source.resolve()))]
        owners = [subprocess.run(["dpkg", "-S", str(place)], capture_output=True, text=True).stdout for place in places]
        packages = [owner.split(":")[0] for owner in owners if owner]
        if not packages:
            sys.exit(f"bundle: no package owns {source}, and so there is no licence to ship")
        package = packages[0]
        version = output("dpkg-query", "-W", "-f=${Version}\n", package).split()[0]
        shutil.copyfile(f"/usr/share/doc/{package}/copyright", folder / f"copyright.{package}")
        lines.append(f"{copy.name}: {name} of Debian's {package} {version}\n")
    (folder / "private-libraries.txt").write_text("".join(lines))


def private(library, everything, folder):
    """What must be copied: SONAME, the system's file, and the file that is copied, which for OpenBLAS is a leaner one."""
    callers = [library, *(path for name, path in everything.items() if not SYSTEM.match(name))]
    found, waiting = {}, list(direct(library))
    while waiting:
        name = waiting.pop()
        if name in found or SYSTEM.match(name):
            continue
        contents = everything[name]
        if name.startswith("libopenblas"):
            lean = folder / name
            if lean_openblas.link(contents, set().union(*map(called, callers)) & defined(contents), lean):
                contents = lean
        found[name] = contents
        # What only the whole OpenBLAS needs (Fortran's run time) is not asked for by the lean one.
        waiting += direct(contents)
    return [(name, everything[name], contents) for name, contents in sorted(found.items())]


def main(library, patchelf, documents=None):
    library = Path(library).resolve()
    everything = needed(library)
    system = set().union(*(defined(path) for name, path in everything.items() if SYSTEM.match(name)))

    copies = {}  # SONAME: (file of the system, our copy)
    renamed = set()
    with tempfile.TemporaryDirectory() as folder:
        for name, path, contents in private(library, everything, Path(folder)):
            stem, _, suffix = name.partition(".so")
            digest = hashlib.sha256(contents.read_bytes()).hexdigest()[:8]
            copy = library.with_name(f"libcet-{stem.removeprefix('lib')}-{digest}.so{suffix}")
            shutil.copyfile(contents, copy)
            copy.chmod(0o644)
            output(patchelf, "--set-soname", copy.name, copy)
            copies[name] = path, copy
            # What the C++ run time defines as well (instances of its own templates) stays one thing in the process.
            renamed |= defined(contents) - system - MARKS
    if not copies:
        sys.exit("bundle: there is nothing to copy")
    # Sorted, so that the files are the same every time.
    names = library.with_name("names")
    names.write_text("".join(f"{symbol} {PREFIX}{symbol}\n" for symbol in sorted(renamed)))
    for file in [library, *(copy for _, copy in copies.values())]:
        replacements = [part for name in direct(file) if name in copies for part in ("--replace-needed", name, copies[name][1].name)]
        output(patchelf, *replacements, "--set-rpath", "$ORIGIN", file)
        output(patchelf, "--rename-dynamic-symbols", names, file)
    names.unlink()

    if documents:
        describe(copies, Path(documents))
    print(required_glibc([library, *(copy for _, copy in copies.values())]))


if __name__ == "__main__":
    main(*sys.argv[1:])
