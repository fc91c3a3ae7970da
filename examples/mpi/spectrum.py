"""Eigenvalues of the loss's Hessian, with the calibration samples shared among MPI processes.

usage: mpirun -n 4 python spectrum.py MODEL.onnx SAMPLES.npz COUNT BATCH

COUNT eigenvalues, BATCH samples in a batch. The same as spectrum.c.
"""

import pathlib
import sys

import numpy as np

import cet

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "python"))

from arguments import arguments  # noqa: E402

path, data, count, batch = arguments(__doc__)
samples, count, batch = dict(np.load(data)), int(count), int(batch)
comm = cet.mpi.communicator()
model = cet.Model(path)
total = len(next(iter(samples.values())))
mine = comm.range(total, batch)
share = {name: array[mine.start:mine.stop] for name, array in samples.items()}
labels = share.pop("labels", None)
hessian = cet.Hessian(model, cet.Calibration(share, labels), batch_size=batch, threads=1, communicator=comm)
spectrum = cet.eigsh(hessian, k=count, threads=1)
if comm.rank == 0:
    for value in spectrum.eigenvalues:
        print(f"{value:.9g} {value.hex()}")
