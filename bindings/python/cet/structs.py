"""The structs of cet/cet.h for ctypes, field by field in the header's order."""

from __future__ import annotations

import ctypes as c
from typing import Any, ClassVar, List, Type

from .errors import InvalidArgument
from .grammar import whole

Status = c.c_int32
ProgressFn = c.CFUNCTYPE(c.c_int32, c.c_int32, c.c_uint64, c.c_uint64, c.c_void_p)
LogFn = c.CFUNCTYPE(None, c.c_int32, c.c_char_p, c.c_void_p)
AllreduceFn = c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_double), c.c_size_t, c.c_void_p)
ApplyFn = c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_float), c.POINTER(c.c_float), c.c_size_t, c.c_void_p)
ApplyBlockFn = c.CFUNCTYPE(
    c.c_int32, c.POINTER(c.c_float), c.POINTER(c.c_float), c.c_size_t, c.c_size_t, c.c_void_p)

ReadFn = c.CFUNCTYPE(c.c_int64, c.c_uint64, c.c_void_p, c.c_uint64, c.c_void_p)
ReleaseFn = c.CFUNCTYPE(None, c.c_void_p)

_strings = c.POINTER(c.c_char_p)
_shape = c.POINTER(c.c_int64)


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
        ("shape", _shape),
        ("rank", c.c_uint32),
        ("element_type", c.c_int32),
    ]


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


class PlanOptions(Struct):
    _c_name_ = "cet_plan_options"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_uint32),
        ("target_ratio", c.c_double),
        ("target_bits", c.c_double),
        ("target_size", c.c_uint64),
        ("max_loss", c.c_double),
        ("method", c.c_int32),
        ("loss", c.c_int32),
        ("curvature", c.c_int32),
        ("rounding", c.c_int32),
        ("granularity", c.c_int32),
        ("block_size", c.c_uint32),
        ("encoding", c.c_int32),
        ("bits", c.c_uint32),
        ("keep_patterns", _strings),
        ("keep_count", c.c_uint64),
        ("fix_patterns", _strings),
        ("fix_bits", c.POINTER(c.c_int32)),
        ("fix_count", c.c_uint64),
        ("seed", c.c_uint64),
        ("samples", c.c_uint64),
        ("max_memory", c.c_uint64),
        ("batch_size", c.c_uint32),
        ("eigenpairs", c.c_uint32),
        ("max_iterations", c.c_uint32),
        ("shifts", c.c_int32),
        ("output", c.c_char_p),
        ("progress", ProgressFn),
        ("log", LogFn),
        ("user_data", c.c_void_p),
        ("coding", c.c_int32),
        ("effort", c.c_int32),
        ("min_runtime", c.c_char_p),
        ("executor", c.c_void_p),
        ("min_patterns", _strings),
        ("min_bits", c.POINTER(c.c_int32)),
        ("min_count", c.c_uint64),
        ("max_patterns", _strings),
        ("max_bits", c.POINTER(c.c_int32)),
        ("max_count", c.c_uint64),
        ("group_patterns", _strings),
        ("group_count", c.c_uint64),
    ]


class PlanTensorInfo(Struct):
    _c_name_ = "cet_plan_tensor"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_uint32),
        ("name", c.c_char_p),
        ("shape", _shape),
        ("parameter_count", c.c_uint64),
        ("bits", c.c_int32),
        ("decision", c.c_int32),
        ("axis", c.c_int32),
        ("block_size", c.c_uint32),
        ("reason", c.c_char_p),
        ("predicted_loss_change", c.c_double),
        ("loss_per_byte", c.c_double),
        ("code_bytes", c.c_uint64),
        ("stored_bytes", c.c_uint64),
        ("measured_loss", c.c_double * 9),
        ("curvature_loss", c.c_double * 9),
        ("sensitivity", c.c_double * 9),
        ("coding", c.c_int32),
        ("trellis_bits", c.c_uint32),
        ("node", c.c_char_p),
        ("operator_type", c.c_char_p),
    ]


class PlanSummaryInfo(Struct):
    _c_name_ = "cet_plan_summary"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("block_size", c.c_uint32),
        ("method", c.c_int32),
        ("loss", c.c_int32),
        ("curvature", c.c_int32),
        ("rounding", c.c_int32),
        ("granularity", c.c_int32),
        ("encoding", c.c_int32),
        ("ratio", c.c_double),
        ("mean_bits", c.c_double),
        ("parameter_count", c.c_uint64),
        ("code_bytes", c.c_uint64),
        ("stored_bytes", c.c_uint64),
        ("file_bytes", c.c_uint64),
        ("model_bytes", c.c_uint64),
        ("predicted_loss_change", c.c_double),
        ("measured_loss_change", c.c_double),
        ("seed", c.c_uint64),
        ("samples", c.c_uint64),
        ("library_version", c.c_char_p),
        ("model_sha256", c.c_char_p),
        ("predicted_low", c.c_double),
        ("predicted_high", c.c_double),
        ("held_out_loss", c.c_double),
        ("held_out_low", c.c_double),
        ("held_out_high", c.c_double),
        ("held_out_samples", c.c_uint64),
        ("coding", c.c_int32),
        ("reserved", c.c_uint32),
    ]


class QuantizeOptions(Struct):
    _c_name_ = "cet_quantize_options"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_uint32),
        ("rounding", c.c_int32),
        ("batch_size", c.c_uint32),
        ("samples", c.c_uint64),
        ("max_memory", c.c_uint64),
        ("progress", ProgressFn),
        ("log", LogFn),
        ("user_data", c.c_void_p),
        ("encoding", c.c_int32),
        ("effort", c.c_int32),
        ("executor", c.c_void_p),
    ]


class InitializerView(Struct):
    _c_name_ = "cet_initializer_view"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_uint32),
        ("name", c.c_char_p),
        ("shape", _shape),
        ("parameter_count", c.c_uint64),
        ("bits", c.c_int32),
        ("axis", c.c_int32),
        ("block_size", c.c_uint32),
        ("zero_point_unit", c.c_uint32),
        ("codes", c.POINTER(c.c_uint8)),
        ("code_bytes", c.c_uint64),
        ("scale", c.POINTER(c.c_float)),
        ("zero_point", c.POINTER(c.c_uint8)),
        ("scale_count", c.c_uint64),
        ("coding", c.c_int32),
        ("trellis_state_bits", c.c_uint32),
        ("trellis_table", c.POINTER(c.c_float)),
        ("trellis_rotation", c.c_uint32),
        ("reserved", c.c_uint32),
    ]


class SaveOptions(Struct):
    _c_name_ = "cet_save_options"
    _fields_ = [
        ("struct_size", c.c_uint32), ("encoding", c.c_int32), ("progress", ProgressFn), ("user_data", c.c_void_p)]


class Buffer(Struct):
    _c_name_ = "cet_buffer"
    _fields_ = [
        ("name", c.c_char_p),
        ("data", c.c_void_p),
        ("byte_size", c.c_uint64),
        ("shape", c.POINTER(c.c_int64)),
        ("rank", c.c_uint32),
        ("element_type", c.c_int32),
    ]


class Executor(Struct):
    _c_name_ = "cet_executor"
    _fields_ = [
        ("struct_size", c.c_uint32), ("reserved", c.c_uint32), ("parallel_for", c.c_void_p), ("user_data", c.c_void_p),
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
        ("shape", _shape),
        ("element_type", c.c_int32),
        ("reserved", c.c_uint32),
    ]


class ParameterInfo(Struct):
    _c_name_ = "cet_parameter_info"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_uint32),
        ("name", c.c_char_p),
        ("shape", _shape),
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
        ("keep_patterns", _strings),
        ("keep_count", c.c_uint64),
        ("communicator", c.POINTER(Communicator)),
        ("only_patterns", _strings),
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


class CorrectionView(Struct):
    _c_name_ = "cet_correction_view"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("added", c.c_uint32),
        ("name", c.c_char_p),
        ("node", c.c_char_p),
        ("values", c.POINTER(c.c_float)),
        ("count", c.c_uint64),
    ]


class Batch(Struct):
    _c_name_ = "cet_batch"
    _fields_ = [("inputs", c.POINTER(Tensor)), ("input_count", c.c_size_t), ("labels", c.POINTER(Tensor))]


BatchFn = c.CFUNCTYPE(c.c_int32, c.POINTER(Batch), c.c_void_p)

ALL: List[Type[Struct]] = [
    Tensor, Source, LoadOptions, PlanOptions, PlanTensorInfo, PlanSummaryInfo, QuantizeOptions, InitializerView, SaveOptions, ValueInfo,
    ParameterInfo, RunOptions, Communicator, CurvatureOptions, CurvatureInfo, EigensolveOptions, SpectrumInfo,
    EstimateOptions, CorrectionView, Buffer, Executor, ModelInfo, Batch,
]
