"""Structs of curvature, eigensolving and estimates."""

from __future__ import annotations

import ctypes as c

from .base import Communicator, LogFn, ProgressFn, Strings, Struct

ApplyFn = c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_float), c.POINTER(c.c_float), c.c_size_t, c.c_void_p)
ApplyBlockFn = c.CFUNCTYPE(
    c.c_int32, c.POINTER(c.c_float), c.POINTER(c.c_float), c.c_size_t, c.c_size_t, c.c_void_p)


class CurvatureOptions(Struct):
    _c_name_ = "cet_curvature_options"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_uint32),
        ("loss", c.c_int32),
        ("curvature", c.c_int32),
        ("samples", c.c_uint64),
        ("max_memory", c.c_uint64),
        ("batch_size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("output", c.c_char_p),
        ("keep_patterns", Strings),
        ("keep_count", c.c_uint64),
        ("communicator", c.POINTER(Communicator)),
        ("only_patterns", Strings),
        ("only_count", c.c_uint64),
        ("progress", ProgressFn),
        ("log", LogFn),
        ("user_data", c.c_void_p),
        ("executor", c.c_void_p),
    ]


class CurvatureInfo(Struct):
    _c_name_ = "cet_curvature_info"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_uint32),
        ("dimension", c.c_uint64),
        ("samples", c.c_uint64),
        ("batches", c.c_uint64),
        ("kept_batches", c.c_uint64),
        ("directions", c.c_uint64),
        ("max_memory", c.c_uint64),
        ("predicted_bytes", c.c_uint64),
        ("peak_bytes", c.c_uint64),
        ("least_bytes", c.c_uint64),
    ]


class EigensolveOptions(Struct):
    _c_name_ = "cet_eigensolve_options"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_uint32),
        ("count", c.c_uint32),
        ("which", c.c_int32),
        ("krylov_dimension", c.c_uint32),
        ("max_applies", c.c_uint32),
        ("tolerance", c.c_double),
        ("seed", c.c_uint64),
        ("start", c.POINTER(c.c_float)),
        ("require_convergence", c.c_uint32),
        ("reserved", c.c_uint32),
        ("progress", ProgressFn),
        ("log", LogFn),
        ("user_data", c.c_void_p),
        ("block_size", c.c_uint32),
        ("basis_type", c.c_int32),
        ("basis_path", c.c_char_p),
        ("max_memory", c.c_uint64),
        ("apply_block", ApplyBlockFn),
        ("initial", c.c_void_p),
        ("state_path", c.c_char_p),
        ("fingerprint", c.c_char_p),
        ("total_max_memory", c.c_uint64),
        ("executor", c.c_void_p),
    ]


class SpectrumInfo(Struct):
    _c_name_ = "cet_spectrum_info"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("which", c.c_int32),
        ("count", c.c_uint64),
        ("dimension", c.c_uint64),
        ("converged_count", c.c_uint64),
        ("applies", c.c_uint64),
        ("restarts", c.c_uint64),
        ("krylov_dimension", c.c_uint64),
        ("tolerance", c.c_double),
    ]


class EstimateOptions(Struct):
    _c_name_ = "cet_estimate_options"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_uint32),
        ("samples", c.c_uint32),
        ("steps", c.c_uint32),
        ("seed", c.c_uint64),
        ("method", c.c_int32),
        ("basis_type", c.c_int32),
        ("basis_path", c.c_char_p),
        ("max_memory", c.c_uint64),
        ("progress", ProgressFn),
        ("log", LogFn),
        ("user_data", c.c_void_p),
        ("executor", c.c_void_p),
    ]
