"""Structs of loading, describing and running models."""

from __future__ import annotations

import ctypes as c

from .base import LogFn, ProgressFn, Shape, Struct

ReadFn = c.CFUNCTYPE(c.c_int64, c.c_uint64, c.c_void_p, c.c_uint64, c.c_void_p)
ReleaseFn = c.CFUNCTYPE(None, c.c_void_p)


class Source(Struct):
    _c_name_ = "cet_source"
    _fields_ = [
        ("data", c.c_void_p),
        ("size", c.c_uint64),
        ("read", ReadFn),
        ("release", ReleaseFn),
        ("user_data", c.c_void_p),
        ("borrowed", c.c_uint32),
        ("reserved", c.c_uint32),
    ]


ExternalFn = c.CFUNCTYPE(c.c_int32, c.c_char_p, c.POINTER(Source), c.c_void_p)


class LoadOptions(Struct):
    _c_name_ = "cet_load_options"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("external", ExternalFn),
        ("user_data", c.c_void_p),
    ]


class ModelInfo(Struct):
    _c_name_ = "cet_model_info"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("ir_version", c.c_int64),
        ("model_version", c.c_int64),
        ("producer_name", c.c_char_p),
        ("producer_version", c.c_char_p),
        ("domain", c.c_char_p),
        ("graph_name", c.c_char_p),
        ("documentation", c.c_char_p),
        ("file_bytes", c.c_uint64),
    ]


class ValueInfo(Struct):
    _c_name_ = "cet_value_info"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_uint32),
        ("name", c.c_char_p),
        ("shape", Shape),
        ("element_type", c.c_int32),
        ("reserved", c.c_uint32),
    ]


class ParameterInfo(Struct):
    _c_name_ = "cet_parameter_info"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_uint32),
        ("name", c.c_char_p),
        ("shape", Shape),
        ("offset", c.c_uint64),
        ("count", c.c_uint64),
    ]


class RunOptions(Struct):
    _c_name_ = "cet_run_options"
    _fields_ = [
        ("struct_size", c.c_uint32), ("threads", c.c_uint32), ("batch_size", c.c_uint32), ("reserved", c.c_uint32),
        ("max_memory", c.c_uint64),
        ("progress", ProgressFn),
        ("log", LogFn),
        ("user_data", c.c_void_p),
    ]
