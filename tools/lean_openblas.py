"""Links an OpenBLAS of only what libcet.so calls, from the static library that lies beside the shared one.

The shared library has all of BLAS and LAPACK in twenty sets of kernels, 36 MB. Functions that nobody calls stay in the archive. So do the
kernels of processors that newer sets of the same instructions serve: those older than SSE4.1, which oneDNN does not run on anyway, take
PRESCOTT's, AMD's of Bulldozer's family SANDYBRIDGE's. Every other processor gets the kernels, and so the bits, that the shared library
gives it.
"""

import subprocess
from pathlib import Path

STAND_INS = {
    "PRESCOTT": "CORE2 PENRYN DUNNINGTON OPTERON OPTERON_SSE3 BARCELONA BOBCAT ATOM NANO",
    "SANDYBRIDGE": "BULLDOZER PILEDRIVER STEAMROLLER EXCAVATOR",
}

# All that LAPACK calls of Fortran's run time: a // b, padded with blanks.
CONCATENATION = """
#include <string.h>
void _gfortran_concat_string(size_t room, char *out, size_t n, const char *a, size_t m, const char *b) {
  if (n > room) n = room;
  if (m > room - n) m = room - n;
  memcpy(out, a, n);
  memcpy(out + n, b, m);
  memset(out + n + m, ' ', room - n - m);
}
"""


def link(shared, symbols, output):
    """Writes `output`, which defines `symbols`, from the archive beside `shared`; False where there is none."""
    archive = Path(shared).resolve().parent / "libopenblas.a"
    if not archive.exists():
        return False
    output = Path(output)
    concatenation, exports = output.with_suffix(".c"), output.with_suffix(".map")
    concatenation.write_text(CONCATENATION)
    exports.write_text("{ global: " + " ".join(f"{symbol};" for symbol in sorted(symbols)) + " local: *; };\n")
    options = [f"--undefined={symbol}" for symbol in sorted(symbols)]
    options += [f"--defsym=gotoblas_{old}=gotoblas_{new}" for new, those in STAND_INS.items() for old in those.split()]
    options += [f"--version-script={exports}", "--gc-sections", "--no-undefined", f"--soname={Path(shared).name}"]
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O2", "-s", "-o", output, concatenation, *(f"-Wl,{option}" for option in options), archive,
         "-lpthread", "-lm"], check=True)
    concatenation.unlink()
    exports.unlink()
    return True
