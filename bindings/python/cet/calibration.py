"""Calibration samples."""

from __future__ import annotations

import ctypes as c
import os
import threading
import zipfile
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from . import structs as s
from .batches import BatchReader
from .errors import InvalidArgument, IOFailure
from .library import check, lib
from .native import FLOAT64, NARROW, Handle, Pathlike, Tensors, Watch, copied, made, name_bytes, narrowed, path_bytes

if TYPE_CHECKING:
    from .model import Model


class Calibration(Handle):
    """Samples with which plans are made and weights rounded. Without arguments the set is empty: see `add_batch`.

    Arrays are NumPy's, lists of numbers, or anything with `__dlpack__` in the processor's memory (PyTorch's, bfloat16 too).
    They are copied. Element types are the model's own, but float16, bfloat16 and float64 serve for float32 too. float64 is
    rounded by the first call that brings the set and such a model together, and the set holds both from then on.

    Args:
        inputs: One array per model input, by name. Axis 0 is the sample axis (a state [2, n, 128] beside others has its
            samples further inside, a scalar is one value for all: see cet_calibration_add_batch).
        labels: Class indices of any integer type, shape [n] or [n, positions...].

    Raises:
        InvalidArgument: Arrays of a type that is not supported, or that do not go together.
        ShapeMismatch: Numbers of samples that differ.
        NumericError: NaN or infinity among the samples.
    """

    _free = "cet_calibration_free"

    def __init__(self, inputs: Optional[Mapping[str, Any]] = None, labels: Any = None):
        self._start(made(lib.cet_calibration_create), [], False)
        if inputs is not None:
            self.add_batch(inputs, labels)

    def _start(self, handle: c.c_void_p, inputs: List[str], labelled: bool) -> None:
        Handle.__init__(self, handle)
        self._lock = threading.Lock()
        self._inputs, self._labelled = inputs, labelled
        self._narrowed: Dict[Tuple[str, ...], Calibration] = {}

    @classmethod
    def from_npz(cls, path: Pathlike) -> "Calibration":
        """Reads an .npz file, or a folder of .npy files, whose arrays carry the model's input names.

        Args:
            path: `labels` among the arrays are the labels; arrays that are no input of the model are ignored.

        Raises:
            IOFailure: The file cannot be read or is damaged.
        """
        self = cls.__new__(cls)
        handle = Watch().handle(lib.cet_calibration_load_npz, path_bytes(path))
        try:
            members = os.listdir(path) if os.path.isdir(path) else zipfile.ZipFile(path).namelist()
        except (OSError, zipfile.BadZipFile) as error:  # changed since the library read it
            raise IOFailure(f"cannot read '{os.fspath(path)}': {error}") from None
        names = sorted(name[:-4] for name in members if name.endswith(".npy"))
        self._start(handle, [name for name in names if name != "labels"], "labels" in names)
        return self

    @classmethod
    def from_batches(
        cls, batches: Iterable[Any], *, names: Optional[Sequence[str]] = None, labels: Optional[str] = "labels",
        samples: Optional[int] = None,
    ) -> "Calibration":
        """Samples from a DataLoader or any other iterable, one batch at a time in memory beside the set.

            data = cet.Calibration.from_batches(loader, names=["input"], samples=512)

        `tqdm(loader)` in place of the loader shows how far it is.

        Args:
            batches: Mappings of inputs, where an entry "labels" is the labels; pairs of such a mapping and labels; or, with
                names, tuples or lists of arrays, with the labels behind them where there is one more, or single arrays.
            names: Inputs of the model that the arrays are; of mappings the only entries that are taken.
            labels: The entry of mappings that has labels; None where it is an input like the others.
            samples: No batch is asked for once there are so many. None for all batches.

        Raises:
            InvalidArgument: A batch of another form, or one that does not go with those before; and as for `Calibration`.
        """
        self, read = cls(), BatchReader(names, labels)
        if samples is None or samples > 0:
            for batch in batches:
                self.add_batch(*read(batch))
                del batch  # gone before the next one is made
                if samples is not None and len(self) >= samples:
                    break
        return self

    def add_batch(self, inputs: Mapping[str, Any], labels: Any = None) -> None:
        """Adds one batch. Batches may differ in the number of samples and in sizes of other axes (sequence lengths)
        but not in names, element types and ranks; either all have labels or none has.

        Args:
            inputs: As for `Calibration`.
            labels: As for `Calibration`.
        """
        arrays = Tensors(inputs)
        classes = None if labels is None else Tensors({None: labels})
        with self._lock:
            check(
                lib.cet_calibration_add_batch(
                    self._handle, arrays.array, arrays.count, None if classes is None else c.byref(classes.array[0])))
            self._inputs, self._labelled = list(inputs), labels is not None
            # Calls that go on with a former set keep it alive themselves.
            self._narrowed = {}

    def fitting(self, model: "Model") -> "Calibration":
        """The set as the model reads it: itself, or with float64 arrays of float32 inputs rounded. Keep it during a call."""
        with self._lock:
            wide = tuple(name for name, kind in model.types().items() if kind in NARROW and self._is_wide(name))
            if wide and wide not in self._narrowed:
                self._narrowed[wide] = _made_of(self._batches(), wide)
            return self._narrowed[wide] if wide else self

    def _is_wide(self, name: str) -> bool:
        tensor = self._array(0, name)
        return tensor is not None and bool(tensor.element_type == FLOAT64)

    def _array(self, batch: int, name: str) -> Optional[s.Tensor]:
        """Borrowed from the set; None where it has none of that name, or one that no model could read."""
        tensor = s.Tensor()
        return None if lib.cet_calibration_get_array(self._handle, batch, name_bytes(name), c.byref(tensor)) else tensor

    def _batches(self) -> Iterable[Tuple[Dict[str, np.ndarray], Optional[np.ndarray]]]:
        """Copies of the arrays, batch by batch."""
        if self._labelled and "labels" in self._inputs:
            raise InvalidArgument("a set with an input 'labels' beside labels cannot be copied")
        for batch in range(lib.cet_calibration_batch_count(self._handle)):
            arrays = {name: self._array(batch, name) for name in self._inputs}
            labels = self._array(batch, "labels") if self._labelled else None
            yield (
                {name: copied(tensor) for name, tensor in arrays.items() if tensor is not None},
                None if labels is None else copied(labels))

    def __reduce__(self) -> Any:
        with self._lock:
            return _made_of, (list(self._batches()),)

    def __len__(self) -> int:
        """Number of samples over all batches."""
        return int(lib.cet_calibration_sample_count(self._handle))

    def __repr__(self) -> str:
        return f"<cet.Calibration: {len(self)} samples>"


def _made_of(
    batches: Iterable[Tuple[Mapping[str, np.ndarray], Optional[np.ndarray]]], narrow: Sequence[str] = ()
) -> Calibration:
    made_set = Calibration()
    for inputs, labels in batches:
        made_set.add_batch({name: narrowed(array) if name in narrow else array for name, array in inputs.items()}, labels)
    return made_set
