"""Arrays of other libraries without a copy, and weights for them: DLPack."""

from __future__ import annotations

import ctypes as c
from typing import Any, Callable, Optional, Tuple

from . import structs as s
from .errors import InvalidArgument
from .library import check, lib

_api = c.pythonapi
_api.PyCapsule_IsValid.restype, _api.PyCapsule_IsValid.argtypes = c.c_int, [c.py_object, c.c_char_p]
_api.PyCapsule_GetPointer.restype, _api.PyCapsule_GetPointer.argtypes = c.c_void_p, [c.py_object, c.c_char_p]
_api.PyCapsule_New.restype, _api.PyCapsule_New.argtypes = c.py_object, [c.c_void_p, c.c_char_p, c.c_void_p]
# For a capsule that is being taken down, which must not get another reference.
_is_valid = c.PYFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p)(("PyCapsule_IsValid", _api))
_pointer = c.PYFUNCTYPE(c.c_void_p, c.c_void_p, c.c_char_p)(("PyCapsule_GetPointer", _api))

_CPU = 1
_VERSIONED, _UNVERSIONED = b"dltensor_versioned", b"dltensor"


def borrow(value: Any, name: Optional[bytes], tensor: s.Tensor) -> Any:
    """Describes an array that has `__dlpack__`. Returns what to keep while `tensor` is used, None for an array that is not
    in C order, of which NumPy makes a copy."""
    device, _ = value.__dlpack_device__()
    if device != _CPU:
        shown = "" if name is None else f" {name.decode()!r}"
        raise InvalidArgument(
            f"array{shown} is on DLPack device {device}, expected {_CPU}: copy it to the processor's memory first")
    try:
        capsule = value.__dlpack__(max_version=(1, 0))
    except TypeError:  # from before versions
        capsule = value.__dlpack__()
    try:
        if _api.PyCapsule_IsValid(capsule, _VERSIONED):
            check(lib.cet_tensor_from_dlpack(_api.PyCapsule_GetPointer(capsule, _VERSIONED), name, c.byref(tensor)))
        else:
            check(lib.cet_tensor_from_dlpack_unversioned(
                _api.PyCapsule_GetPointer(capsule, _UNVERSIONED), name, c.byref(tensor)))
    except InvalidArgument as error:
        if error.got is not None and error.got.startswith("strides"):
            return None
        raise
    return capsule  # which calls the deleter when it goes, because nobody took its contents


class _Managed(c.Structure):
    """The start of DLManagedTensorVersioned."""


_Deleter = c.CFUNCTYPE(None, c.POINTER(_Managed))
_Managed._fields_ = [("version", c.c_uint32 * 2), ("manager_ctx", c.c_void_p), ("deleter", _Deleter)]


def _delete(capsule: int) -> None:
    if _is_valid(capsule, _VERSIONED):  # else somebody took it
        pointer = c.cast(_pointer(capsule, _VERSIONED), c.POINTER(_Managed))
        pointer.contents.deleter(pointer)


_destroy = c.PYFUNCTYPE(None, c.c_void_p)(_delete)


class DLPackArray:
    """An array of the library's for whoever reads DLPack 1.x: `torch.from_dlpack(array)`. `make()` gives a pointer to a new
    DLManagedTensorVersioned."""

    def __init__(self, make: Callable[[], Optional[int]]):
        self._make = make

    def __dlpack__(
        self, *, stream: Any = None, max_version: Optional[Tuple[int, int]] = None, dl_device: Optional[Tuple[int, int]] = None,
        copy: Optional[bool] = None,
    ) -> Any:
        if max_version is None or max_version[0] < 1:
            raise BufferError("needs a reader of DLPack 1.0 or later")
        if dl_device is not None and tuple(dl_device) != (_CPU, 0):
            raise BufferError("the array is in the memory of the processor")
        return _api.PyCapsule_New(self._make(), _VERSIONED, c.cast(_destroy, c.c_void_p))

    def __dlpack_device__(self) -> Tuple[int, int]:
        return (_CPU, 0)
