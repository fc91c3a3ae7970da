"""Makes the arrays of this folder with NumPy: python make.py"""
import io
import os
import zipfile

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
TYPES = ["f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def npy(array, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version)
    return out.getvalue()


def archive(name, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(os.path.join(here, name), "w", compression) as out:
        for member, data in members.items():
            out.writestr(zipfile.ZipInfo(member + ".npy", (1980, 1, 1, 0, 0, 0)), data, compression)


arrays = {t: npy(np.arange(6).reshape(2, 3).astype("<" + t)) for t in TYPES}
arrays["b1"] = npy(np.array([[True, False, True], [False, True, False]]))
cube = np.arange(24, dtype="<f4").reshape(2, 3, 4)
arrays["fortran"] = npy(np.asfortranarray(cube))
arrays["fortran_i8"] = npy(np.asfortranarray(cube.astype("<i8")))
arrays["version2"] = npy(cube, (2, 0))
arrays["version3"] = npy(cube, (3, 0))
arrays["scalar"] = npy(np.float32(7).reshape(()))
arrays["empty"] = npy(np.zeros((0, 3), "<f4"))
arrays["extremes"] = npy(np.array([np.finfo("f2").max, 2.0**-24, -0.0, np.inf, np.nan], "<f2"))
archive("types.npz", arrays)
archive("types_compressed.npz", arrays, zipfile.ZIP_DEFLATED)

pickled = io.BytesIO()
np.save(pickled, np.array([None, {}], object), allow_pickle=True)
archive(
    "mixed.npz",
    {
        "input": npy(cube),
        "labels": npy(np.array([1, 0], "<i8")),
        "objects": pickled.getvalue(),
        "words": npy(np.array(["a", "bc"])),
        "big_endian": npy(np.arange(2, dtype=">f4")),
        "complex": npy(np.zeros(2, "<c8")),
        "records": npy(np.zeros(2, [("a", "<f4"), ("b", "<i4")])),
        "score": npy(np.zeros(7, "<f8")),
    },
)
for name, array in {"input": cube, "labels": np.array([1, 0], "<i4")}.items():
    with open(os.path.join(here, "folder", name + ".npy"), "wb") as out:
        out.write(npy(array))
