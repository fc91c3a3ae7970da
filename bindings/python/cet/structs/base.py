"""What structs of several calls are made of: checked numbers, callbacks, tensors, executors and communicators."""

from __future__ import annotations

import ctypes as c
from typing import Any, ClassVar

from ..errors import InvalidArgument
from ..grammar import whole

Status = c.c_int32
ProgressFn = c.CFUNCTYPE(c.c_int32, c.c_int32, c.c_uint64, c.c_uint64, c.c_void_p)
LogFn = c.CFUNCTYPE(None, c.c_int32, c.c_char_p, c.c_void_p)
AllreduceFn = c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_double), c.c_size_t, c.c_void_p)

Strings = c.POINTER(c.c_char_p)
Shape = c.POINTER(c.c_int64)


class Struct(c.Structure):
    """A struct whose whole numbers are checked when they are set: ctypes keeps the low bits of whatever it gets."""

    _c_name_: ClassVar[str]
    _bounds_: ClassVar = {
        c.c_int32: (-(2**31), 2**31 - 1), c.c_uint32: (0, 2**32 - 1), c.c_int64: (-(2**63), 2**63 - 1),
        c.c_uint64: (0, 2**64 - 1),
    }

    def __setattr__(self, name: str, value: Any) -> None:
        bounds = self._bounds_.get(dict(self._fields_).get(name))  # type: ignore[arg-type]
        if bounds is not None:
            number = whole(f"option {name}", value)
            if not bounds[0] <= number <= bounds[1]:
                raise InvalidArgument(f"option {name}: expected {bounds[0]} to {bounds[1]}, got {number}")
        super().__setattr__(name, value)


class Tensor(Struct):
    _c_name_ = "cet_tensor"
    _fields_ = [
        ("name", c.c_char_p),
        ("data", c.c_void_p),
        ("byte_size", c.c_uint64),
        ("shape", Shape),
        ("rank", c.c_uint32),
        ("element_type", c.c_int32),
    ]


class Buffer(Struct):
    _c_name_ = "cet_buffer"
    _fields_ = [
        ("name", c.c_char_p),
        ("data", c.c_void_p),
        ("byte_size", c.c_uint64),
        ("shape", Shape),
        ("rank", c.c_uint32),
        ("element_type", c.c_int32),
    ]


class Batch(Struct):
    _c_name_ = "cet_batch"
    _fields_ = [("inputs", c.POINTER(Tensor)), ("input_count", c.c_size_t), ("labels", c.POINTER(Tensor))]


BatchFn = c.CFUNCTYPE(c.c_int32, c.POINTER(Batch), c.c_void_p)


class Executor(Struct):
    _c_name_ = "cet_executor"
    _fields_ = [
        ("struct_size", c.c_uint32), ("reserved", c.c_uint32), ("parallel_for", c.c_void_p), ("user_data", c.c_void_p),
    ]


class Communicator(Struct):
    _c_name_ = "cet_communicator"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_uint32),
        ("size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("allreduce_sum", AllreduceFn),
        ("user_data", c.c_void_p),
    ]
