"""What the package's objects share: handles, callbacks, arrays on their way into the library and out of it."""

from __future__ import annotations

import contextlib
import ctypes as c
import os
import signal
import threading
import weakref
from typing import Any, Callable, Iterable, Iterator, List, Mapping, NoReturn, Optional, Tuple, TypeVar, Union

import numpy as np

from . import dlpack
from . import structs as s
from .errors import Cancelled, InvalidArgument
from .library import check, lib
from .progress import Bar, Progress, progress_function

# ONNX's element types.
_TYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}
_NUMBERS = {np.dtype(kind): number for number, kind in _TYPES.items()}
# NumPy has no bfloat16: arrays of it come and go through DLPack, or as float32.
FLOAT64, BFLOAT16 = 11, 16
TYPE_NAMES = {**{number: np.dtype(kind).name for number, kind in _TYPES.items()}, BFLOAT16: "bfloat16"}

Log = Callable[[str, str], object]
"""A function of level ("info" or "warning") and message."""
Pathlike = Union[str, "os.PathLike[str]"]
_T = TypeVar("_T")


class Handle:
    """An object that owns a handle of the library and frees it when nothing refers to the object any more."""

    _free = ""

    def __init__(self, handle: c.c_void_p):
        self._handle = handle
        weakref.finalize(self, getattr(lib, self._free), handle)

    def __reduce__(self) -> Any:
        """Only what can be made again from data is pickled or copied."""
        refuse_pickling(self, "make it again where it is needed")


def refuse_pickling(value: object, way: str) -> NoReturn:
    raise TypeError(f"{type(value).__name__} cannot be pickled or copied: {way}")


def made(function: Any, *arguments: Any) -> c.c_void_p:
    """The handle that a call makes as its last argument."""
    out = c.c_void_p()
    check(function(*arguments, c.byref(out)))
    return out


def notes(handle: c.c_void_p, count: Any, get: Any) -> List[str]:
    """Lines that an object of the library has for people."""
    result = []
    for index in range(count(handle)):
        note = c.c_char_p()
        check(get(handle, index, c.byref(note)))
        result.append((note.value or b"").decode())
    return result


def path_bytes(path: Pathlike) -> bytes:
    return os.fsencode(os.fspath(path))


def name_bytes(name: str) -> bytes:
    encoded = name.encode()
    if b"\0" in encoded:
        raise InvalidArgument(f"name {name!r} has a NUL character")
    return encoded


def strings(values: Iterable[str]) -> Tuple[Any, int]:
    """A C array of strings and its length; keep it as long as the call."""
    encoded = [name_bytes(value) for value in values]
    return (c.c_char_p * len(encoded))(*encoded), len(encoded)


class Tensors:
    """Arrays as cet_tensor structs, kept alive with them: what NumPy can look at, or what has `__dlpack__`.

    types: gives the element types that names should have; float64 arrays are rounded to float32 where that is float32 or
    float16.
    """

    def __init__(self, arrays: Mapping[Any, Any], types: Optional[Callable[[], Mapping[str, Optional[str]]]] = None):
        self.count = len(arrays)
        self.array = (s.Tensor * self.count)()
        self._kept: List[Any] = []
        for target, (name, value) in zip(self.array, arrays.items()):
            if hasattr(value, "__dlpack__") and not isinstance(value, (np.ndarray, np.generic)):
                value, filled = self._borrowed(value, name, target)
                if filled and not (types and target.element_type == FLOAT64):
                    continue
            # ascontiguousarray would make a scalar one-dimensional.
            array = np.asarray(value, order="C")
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
            if types and array.dtype == np.float64 and types().get(name) in NARROW:
                array = narrowed(array)
            number = _NUMBERS.get(array.dtype)
            if number is None:
                raise InvalidArgument(f"array {name!r} has dtype {array.dtype}, which is not supported")
            shape = (c.c_int64 * array.ndim)(*array.shape)
            self._kept.append((array, shape))
            target.name = None if name is None else name_bytes(name)
            target.data = array.ctypes.data
            target.byte_size = array.nbytes
            target.shape = shape
            target.rank = array.ndim
            target.element_type = number

    def _borrowed(self, value: Any, name: Optional[str], target: s.Tensor) -> Tuple[Any, bool]:
        """Fills `target` where the array is in C order or makes a copy that is (PyTorch's do). Gives the array without its
        gradient, and whether `target` is filled."""
        if getattr(value, "requires_grad", False):
            value = value.detach()
        encoded = None if name is None else name_bytes(name)
        for array in (lambda: value, getattr(value, "contiguous", None)):
            if array is not None:
                value = array()
                capsule = dlpack.borrow(value, encoded, target)
                if capsule is not None:
                    # The struct points into the name, too, and ctypes does not know.
                    self._kept.append((value, capsule, encoded))
                    return value, True
        return value, False


NARROW = ("float32", "float16")


def narrowed(array: np.ndarray) -> np.ndarray:
    """float32; beyond its range infinity, which calibration refuses."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def copied(tensor: s.Tensor) -> np.ndarray:
    """A copy of a borrowed tensor; bfloat16 as float32."""
    data = c.string_at(tensor.data, tensor.byte_size) if tensor.byte_size else b""
    if tensor.element_type == BFLOAT16:
        widened = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
        return widened.view(np.float32).reshape(shape_of(tensor))
    kind = np.dtype(_TYPES[tensor.element_type])
    return np.frombuffer(bytearray(data), dtype=kind).reshape(shape_of(tensor))


def shape_of(info: Any) -> Tuple[int, ...]:
    return tuple(info.shape[: info.rank]) if info.shape else ()


def float_pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(c.POINTER(c.c_float))


def double_pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(c.POINTER(c.c_double))


class Callbacks:
    """Progress and log callbacks of one call. An exception in one of them, or Ctrl-C, cancels the call and is raised
    from it."""

    def __init__(self, progress: Optional[Progress], log: Optional[Log]):
        self._progress, self._log = progress_function(progress), log
        self._error: Optional[BaseException] = None
        # Always set: the interpreter handles signals when it gets to run, which is here.
        self.progress = s.ProgressFn(self._on_progress)
        self.log = s.LogFn() if log is None else s.LogFn(self._on_log)

    def _on_progress(self, phase: int, done: int, total: int, _: object) -> int:
        self._call(self._progress, lib.cet_phase_string(phase).decode(), done, total)
        return 0 if self._error is None else 1

    def _on_log(self, level: int, message: bytes, _: object) -> None:
        self._call(self._log, "warning" if level == 2 else "info", message.decode("utf-8", "replace"))

    def _call(self, function: Optional[Callable[..., Any]], *arguments: Any) -> Any:
        """Calls unless something was raised already; ctypes would print an exception and drop it."""
        if self._error is not None or function is None:
            return None
        try:
            return function(*arguments)
        except BaseException as error:  # raised again in `made`
            self._error = self._error or error
            return None

    def apply(self, function: Callable[[np.ndarray], Any]) -> Any:
        """A symmetric map for cet_eigensolve."""

        def call(v: Any, result: Any, n: int, _: object) -> int:
            # A copy: the function may keep its argument.
            product = self._call(function, np.ctypeslib.as_array(v, (n,)).copy())
            self._call(_fill, np.ctypeslib.as_array(result, (n,)), product)
            return 0 if self._error is None else 1

        return s.ApplyFn(call)

    def apply_block(self, function: Callable[[np.ndarray], Any]) -> Any:
        """The same for blocks: `function` takes and returns float32 [n, count]."""

        def call(v: Any, result: Any, n: int, count: int, _: object) -> int:
            product = self._call(function, np.ctypeslib.as_array(v, (count, n)).copy().T)
            self._call(_fill, np.ctypeslib.as_array(result, (count, n)).T, product)
            return 0 if self._error is None else 1

        return s.ApplyBlockFn(call)

    def made(self, kind: Callable[[c.c_void_p], _T], function: Any, *arguments: Any) -> _T:
        """The object of class `kind` that a call makes."""
        return self._run(lambda: kind(made(function, *arguments)))

    def call(self, function: Any, *arguments: Any) -> None:
        """A call that makes no object."""
        self._run(lambda: check(function(*arguments)))

    def _run(self, body: Callable[[], _T]) -> _T:
        """What a callback raised comes before the library's own."""
        self._error = None
        try:
            with self._signals():
                result = body()
        except Cancelled:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            if isinstance(self._progress, Bar):
                self._progress.close()
        if self._error is not None:
            raise self._error
        return result

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """While the library works, an exception of the SIGINT handler is kept instead of raised: it would arise
        wherever a callback happens to begin, where ctypes drops it."""
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler) or threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(signal.SIGINT, lambda number, frame: self._call(handler, number, frame))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, handler)


class Watch(Callbacks):
    """Ctrl-C in calls that take no callbacks but hear cet_set_progress: those that read and write files."""

    def __init__(self) -> None:
        super().__init__(None, None)

    def _run(self, body: Callable[[], _T]) -> _T:
        check(lib.cet_set_progress(self.progress, None))
        try:
            return super()._run(body)
        finally:
            lib.cet_set_progress(s.ProgressFn(), None)

    def handle(self, function: Any, *arguments: Any) -> c.c_void_p:
        """The handle that a call makes."""
        return self.made(lambda handle: handle, function, *arguments)


def _fill(target: np.ndarray, values: Any) -> None:
    target[:] = values
