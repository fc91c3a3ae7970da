"""The static Swift run time, of which a linker keeps only what is reached.

    tools/lean-runtime.py FOLDER      (FOLDER then serves as the compiler's -resource-dir when it links statically)

The toolchain's libswiftCore.a marks every function of the standard library as one that a linker must retain (SHF_GNU_RETAIN, for
programs that look functions up by name), which is 1.5 MB of a library that calls a small part. Here they are copied without
the mark, so that --gc-sections decides by references. Metadata and records of conformances, which the run time finds by walking
through their sections, keep it. Everything else in FOLDER is a link to the toolchain's.
"""
import json
import pathlib
import shutil
import struct
import subprocess
import sys

RETAIN = 0x200000  # SHF_GNU_RETAIN
MEMBER = 60  # bytes of a member's header in an archive


def members(archive):
    """Where the members of an ar archive start, behind their headers (ar(5))."""
    at = 8
    while at < len(archive):
        size = int(archive[at + 48:at + 58])
        yield at + MEMBER
        at += MEMBER + size + size % 2


def release_functions(archive, start):
    """Takes the mark off the functions of a 64-bit little-endian ELF object at `start` (ELF-64 object file format, sections)."""
    table, = struct.unpack_from("<Q", archive, start + 40)
    size, count, names = struct.unpack_from("<HHH", archive, start + 58)
    if count == 0:
        count, = struct.unpack_from("<Q", archive, start + table + 32)
    if names == 0xFFFF:
        names, = struct.unpack_from("<I", archive, start + table + 40)
    strings, = struct.unpack_from("<Q", archive, start + table + names * size + 24)
    for header in range(start + table, start + table + count * size, size):
        name, _, flags = struct.unpack_from("<IIQ", archive, header)
        if archive.startswith(b".text.", start + strings + name):
            struct.pack_into("<Q", archive, header + 8, flags & ~RETAIN)


def main():
    folder = pathlib.Path(sys.argv[1])
    said = subprocess.run(["swiftc", "-static-stdlib", "-print-target-info"], check=True, capture_output=True, text=True)
    toolchain = pathlib.Path(json.loads(said.stdout)["paths"]["runtimeResourcePath"])
    archive = bytearray((toolchain / "linux/libswiftCore.a").read_bytes())
    for start in members(archive):
        if archive.startswith(b"\x7fELF\x02\x01", start):
            release_functions(archive, start)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "linux").mkdir(parents=True)
    for source in [*toolchain.iterdir(), *(toolchain / "linux").iterdir()]:
        if source.name != "linux":
            (folder / source.relative_to(toolchain)).symlink_to(source)
    core = folder / "linux/libswiftCore.a"
    core.unlink()
    core.write_bytes(archive)


if __name__ == "__main__":
    main()
