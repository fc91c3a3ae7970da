"""Structs of planning, and of quantizing by a plan."""

from __future__ import annotations

import ctypes as c

from .base import LogFn, ProgressFn, Shape, Strings, Struct


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
        ("keep_patterns", Strings),
        ("keep_count", c.c_uint64),
        ("fix_patterns", Strings),
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
        ("min_patterns", Strings),
        ("min_bits", c.POINTER(c.c_int32)),
        ("min_count", c.c_uint64),
        ("max_patterns", Strings),
        ("max_bits", c.POINTER(c.c_int32)),
        ("max_count", c.c_uint64),
        ("group_patterns", Strings),
        ("group_count", c.c_uint64),
        ("activation_bits", c.c_uint32),
        ("activation_range", c.c_int32),
        ("activation_loss", c.c_double),
        ("activation_mean_bits", c.c_double),
        ("external_data", c.c_uint32),
    ]


class PlanTensorInfo(Struct):
    _c_name_ = "cet_plan_tensor"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_uint32),
        ("name", c.c_char_p),
        ("shape", Shape),
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


class PlanActivationInfo(Struct):
    _c_name_ = "cet_plan_activation"
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("bits", c.c_int32),
        ("name", c.c_char_p),
        ("elements", c.c_uint64),
        ("scale", c.c_float),
        ("zero_point", c.c_int32),
        ("range", c.c_int32),
        ("reserved", c.c_uint32),
        ("reason", c.c_char_p),
        ("predicted_loss_change", c.c_double),
        ("measured_loss", c.c_double),
        ("curvature_loss", c.c_double),
        ("sensitivity", c.c_double * 17),
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
        ("shape", Shape),
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


class SaveOptions(Struct):
    _c_name_ = "cet_save_options"
    _fields_ = [
        ("struct_size", c.c_uint32), ("encoding", c.c_int32), ("progress", ProgressFn), ("user_data", c.c_void_p),
        ("max_memory", c.c_uint64)]
