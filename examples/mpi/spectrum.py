"""Eigenvalues of the loss's Hessian, with the calibration samples shared among MPI processes.

    mpirun -n 4 python spectrum.py model.onnx calibration.npz 5 16

Arguments: model, samples, number of eigenvalues, samples in a batch. The same as spectrum.c.
"""

import sys

import numpy as np

import cet

path, samples, count, batch = sys.argv[1], dict(np.load(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
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
