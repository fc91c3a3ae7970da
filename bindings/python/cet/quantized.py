"""Quantized models: codes, scales and zero points, ready to be written."""

from __future__ import annotations

import ctypes as c
import os
import tempfile
from dataclasses import dataclass
from typing import Any, Iterator, List, Optional, Tuple, Union

import numpy as np

from . import html
from . import structs as s
from . import words as w
from .calibration import Calibration
from .dlpack import DLPackArray
from .grammar import ByteSize, byte_size
from .library import check, initialized, lib
from .model import Model
from .native import TYPE_NAMES, Callbacks, Handle, Log, Pathlike, Watch, float_pointer, made, name_bytes, path_bytes, shape_of
from .options import QuantizeCall
from .plan import Plan
from .progress import Progress
from .words import Effort, Encoding, Rounding


@dataclass(frozen=True)
class Correction:
    """A bias that goes with the codes: a host that replaces weights in memory replaces these too."""

    name: str
    node: str
    """Name of the node that reads it, its first output when it has no name."""
    added: bool
    """The node had no bias before."""
    values: np.ndarray
    """float32, shape [count]."""


class Initializer:
    """One quantized initializer: w = scale * (codes - zero_point) with `coding` "affine" or "symmetric"; with "trellis" w = scale * level,
    where the codes of one index of `axis` are steps s = ((s << bits) | code) % len(trellis_table) from s = 0 that go through
    the other axes with the first of them fastest, otherwise in C order, and levels are trellis_table[s], each run of
    `trellis_rotation` of them under the Hadamard matrix of that length over the square root of it."""

    def __init__(self, quantized: "Quantized", index: int):
        self._quantized, self._index = quantized, index
        self._view = initialized(s.InitializerView)
        check(lib.cet_quantized_get_initializer(quantized._handle, index, c.byref(self._view)))

    @property
    def name(self) -> str:
        return str(self._view.name.decode())

    @property
    def shape(self) -> Tuple[int, ...]:
        return shape_of(self._view)

    @property
    def bits(self) -> int:
        """Of one code."""
        return int(self._view.bits)

    @property
    def axis(self) -> Optional[int]:
        """Quantization axis; None: one scale for the whole tensor."""
        return self._view.axis if self._view.axis >= 0 else None

    @property
    def block_size(self) -> int:
        """0: not blocked."""
        return int(self._view.block_size)

    @property
    def coding(self) -> str:
        """What codes stand for: "affine", "trellis" or "symmetric"."""
        return w.word(self._view.coding, w.CODINGS)

    @property
    def trellis_table(self) -> Optional[np.ndarray]:
        """float32 [2**state_bits], values of float16; None without a trellis."""
        if not self._view.trellis_table:
            return None
        return np.ctypeslib.as_array(self._view.trellis_table, (1 << self._view.trellis_state_bits,)).copy()

    @property
    def trellis_rotation(self) -> Optional[int]:
        """Levels that are rotated together, 1 where none are; None without a trellis."""
        return self._view.trellis_rotation or None

    @property
    def packed_codes(self) -> np.ndarray:
        """uint8 [ceil(weights * bits / 8)]: one stream of bits, least significant first."""
        return np.ctypeslib.as_array(self._view.codes, (self._view.code_bytes,)).copy()

    @property
    def codes(self) -> np.ndarray:
        """uint8 of `shape`, 0 to 2**bits - 1."""
        count, bits = self._view.parameter_count, self.bits
        stream = np.unpackbits(self.packed_codes, count=count * bits, bitorder="little")
        codes = np.packbits(stream.reshape(count, bits), axis=1, bitorder="little")
        return codes.reshape(self.shape)

    @property
    def scale(self) -> np.ndarray:
        """float32: [1] for the tensor, [channels] per axis, or [channels * blocks] with blocks."""
        return np.ctypeslib.as_array(self._view.scale, (self._view.scale_count,)).copy()

    @property
    def zero_point(self) -> Optional[np.ndarray]:
        """float32, in codes: whole numbers, or halves for 3 bits and (except with "qdq") 2; as many as scales. None with a
        trellis."""
        if not self._view.zero_point:
            return None
        stored = np.ctypeslib.as_array(self._view.zero_point, (self._view.scale_count,))
        return stored.astype(np.float32) / np.float32(self._view.zero_point_unit)

    def dlpack(self, dtype: str = "float32") -> DLPackArray:
        """The values as an array for DLPack 1.x, for instance `torch.from_dlpack(initializer.dlpack("bfloat16"))`.
        dtype: "float32", "float16" or "bfloat16", rounded to the nearest."""
        number = next((number for number, name in TYPE_NAMES.items() if name == dtype), 0)
        return DLPackArray(
            lambda: made(lib.cet_quantized_to_dlpack, self._quantized._handle, self._index, number).value)

    def dequantize(self) -> np.ndarray:
        """float32 values of `shape`."""
        values = np.empty(self.shape, np.float32)
        check(lib.cet_quantized_dequantize(self._quantized._handle, self._index, float_pointer(values), values.size))
        return values

    def __reduce__(self) -> Any:
        return Initializer, (self._quantized, self._index)

    def __repr__(self) -> str:
        return f"<cet.Initializer {self.name!r}: {'x'.join(map(str, self.shape))}, {self.bits} bits>"


class Quantized(Handle):
    """A plan carried out on a model; immutable. `quantized["conv1.weight"]` is an `Initializer`. It is pickled as its state
    and the model."""

    _free = "cet_quantized_free"

    def __init__(self, handle: c.c_void_p, model: Model):
        super().__init__(handle)
        self._model = model

    def __len__(self) -> int:
        """Number of quantized initializers; kept tensors are not among them."""
        return int(lib.cet_quantized_initializer_count(self._handle))

    def __getitem__(self, key: Union[str, int]) -> Initializer:
        if isinstance(key, str):
            found = c.c_size_t()
            if lib.cet_quantized_find_initializer(self._handle, name_bytes(key), c.byref(found)):
                raise KeyError(key)
            return Initializer(self, found.value)
        index = key + len(self) if key < 0 else key
        if not 0 <= index < len(self):
            raise IndexError(f"initializer {key} of {len(self)}")
        return Initializer(self, index)

    def __iter__(self) -> Iterator[Initializer]:
        return (self[index] for index in range(len(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.keys()

    def keys(self) -> List[str]:
        """Names in graph order."""
        return [initializer.name for initializer in self]

    @property
    def plan(self) -> Plan:
        """The plan that was carried out, with the measured loss change and the file's exact size."""
        return Plan(made(lib.cet_quantized_get_plan, self._handle))

    @property
    def corrections(self) -> List[Correction]:
        """Biases corrected for the quantization error."""
        result = []
        for index in range(lib.cet_quantized_correction_count(self._handle)):
            view = initialized(s.CorrectionView)
            check(lib.cet_quantized_get_correction(self._handle, index, c.byref(view)))
            values = np.ctypeslib.as_array(view.values, (view.count,)).copy()
            result.append(Correction(view.name.decode(), view.node.decode(), bool(view.added), values))
        return result

    def save(
        self, path: Pathlike, *, encoding: Optional[Encoding] = None, progress: Optional[Progress] = None,
        max_memory: Optional[ByteSize] = None,
    ) -> None:
        """Writes the ONNX file; it appears complete or not at all. encoding: the plan's unless given.
        progress(phase, done, total); an exception raised in it leaves nothing. max_memory: bytes that the call may hold beyond this object.

        A file that the model was loaded from is not replaced."""
        callbacks = Callbacks(progress, None)
        callbacks.call(lib.cet_quantized_save_file, self._handle, path_bytes(path), c.byref(_save_options(encoding, callbacks, max_memory)))

    def to_bytes(
        self, *, encoding: Optional[Encoding] = None, progress: Optional[Progress] = None, max_memory: Optional[ByteSize] = None,
    ) -> bytes:
        """The same bytes as `save` writes."""
        data, size = c.c_void_p(), c.c_size_t()
        callbacks = Callbacks(progress, None)
        callbacks.call(
            lib.cet_quantized_save_memory, self._handle, c.byref(_save_options(encoding, callbacks, max_memory)), c.byref(data), c.byref(size))
        try:
            return c.string_at(data, size.value)
        finally:
            lib.cet_free(data)

    def save_state(self, path: Pathlike) -> None:
        """Writes codes, scales, zero points, corrected biases and the plan; `load_state` makes the same object of them
        without samples."""
        Watch().call(lib.cet_quantized_save_state, self._handle, path_bytes(path))

    @classmethod
    def load_state(cls, model: Model, path: Pathlike) -> "Quantized":
        """Reads such a file.

        Args:
            model: The one that was quantized, told by its SHA-256.

        Raises:
            IOFailure: No such file, or a damaged one.
            InvalidArgument: Another model.
        """
        return cls(Watch().handle(lib.cet_quantized_load_state, model._handle, path_bytes(path)), model)

    def __reduce__(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "state")
            self.save_state(path)
            with open(path, "rb") as file:
                return _quantized_again, (self._model, file.read())

    def _repr_html_(self) -> str:
        return html.quantized(self)

    def __repr__(self) -> str:
        total = self.plan.summary
        return (
            f"<cet.Quantized: {len(self)} initializers, {total.mean_bits:.3f} bits, {total.file_bytes:,} bytes, "
            f"loss change {total.held_out_loss:.2e} held out, {total.measured_loss_change:.2e} fitted>")


def _save_options(encoding: Optional[Encoding], callbacks: Callbacks, max_memory: Optional[ByteSize]) -> s.SaveOptions:
    options = initialized(s.SaveOptions)
    options.progress = callbacks.progress
    options.encoding = w.code("encoding", encoding, w.ENCODINGS)
    options.max_memory = byte_size("max_memory", max_memory)
    return options


def _quantized_again(model: Model, state: bytes) -> Quantized:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state")
        with open(path, "wb") as file:
            file.write(state)
        return Quantized.load_state(model, path)


def quantize(
    model: Model, calibration: Optional[Calibration], plan: Plan,
    *, rounding: Optional[Rounding] = None, encoding: Optional[Encoding] = None, effort: Optional[Effort] = None,
    samples: Optional[int] = None, batch_size: Optional[int] = None, max_memory: Optional[ByteSize] = None,
    threads: int = 0, progress: Optional[Progress] = None, log: Optional[Log] = None,
) -> Quantized:
    """Computes codes, scales, zero points and corrected biases for a plan.

    Args:
        model: The one that was planned, told by its SHA-256.
        calibration: The samples that codes are fitted to. None with rounding="nearest" only; the loss is then not measured.
        plan: Of `cet.plan`, read from a file, or replanned.
        rounding: "compensated", "gptq", "nearest"; the plan's unless given.
        encoding: That the result is for, as for `cet.plan`; the plan's unless given.
        effort: "low", "medium", "high"; the plan's unless given.
        samples: The first so many; as many as the plan used unless given.
        batch_size: Samples computed together; chosen by the library unless given.
        max_memory: Bytes that the call may hold beyond model and data, as a number or "2GB".
        threads: 0 for all processors.
        progress: True for a bar (tqdm), or a function of phase, steps done and steps in all; an exception raised in it
            cancels the call.
        log: A function of level ("info", "warning") and message.

    Raises:
        InvalidArgument: Plan and model do not belong together; and as for `cet.plan`.
    """
    call = QuantizeCall(locals())
    data = None if calibration is None else calibration.fitting(model)
    return call.callbacks.made(
        lambda handle: Quantized(handle, model), lib.cet_quantize, model._handle, None if data is None else data._handle,
        plan._handle, c.byref(call.options))
