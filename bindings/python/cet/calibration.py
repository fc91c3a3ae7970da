"""Calibration samples."""

from __future__ import annotations

import ctypes as c
import os
import threading
from typing import Mapping, Optional, Union

import numpy as np

from .library import check, lib
from .native import Handle, Tensors, made, path_bytes


class Calibration(Handle):
    """Samples with which plans are made and weights rounded.

    inputs: one array per model input, by name; axis 0 is the sample axis (a state [2, n, 128] beside others has its
    samples further inside, a scalar is one value for all: see cet_calibration_add_batch). Element types are the model's
    own and are not converted. labels: class indices of any integer type, shape [n] or [n, positions...].
    Without arguments the set is empty and filled with `add_batch`. The arrays are copied.
    """

    _free = "cet_calibration_free"

    def __init__(self, inputs: Optional[Mapping[str, np.ndarray]] = None, labels: Optional[np.ndarray] = None):
        super().__init__(made(lib.cet_calibration_create))
        self._lock = threading.Lock()
        if inputs is not None:
            self.add_batch(inputs, labels)

    @classmethod
    def from_npz(cls, path: Union[str, os.PathLike]) -> "Calibration":
        """Reads an .npz file, or a folder of .npy files, whose arrays carry the model's input names; `labels` are
        the labels. Other arrays are ignored."""
        self = cls.__new__(cls)
        Handle.__init__(self, made(lib.cet_calibration_load_npz, path_bytes(path)))
        self._lock = threading.Lock()
        return self

    def add_batch(self, inputs: Mapping[str, np.ndarray], labels: Optional[np.ndarray] = None) -> None:
        """Adds one batch. Batches may differ in the number of samples and in sizes of other axes (sequence lengths)
        but not in names, element types and ranks; either all have labels or none has."""
        arrays = Tensors(inputs)
        classes = None if labels is None else Tensors({None: labels})
        with self._lock:
            check(
                lib.cet_calibration_add_batch(
                    self._handle, arrays.array, arrays.count, None if classes is None else c.byref(classes.array[0])))

    def __len__(self) -> int:
        """Number of samples over all batches."""
        return lib.cet_calibration_sample_count(self._handle)

    def __repr__(self) -> str:
        return f"<cet.Calibration: {len(self)} samples>"
