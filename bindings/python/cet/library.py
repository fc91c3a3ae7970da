"""Finds and loads the shared library and declares its functions."""

from __future__ import annotations

import ctypes as c
import json
import os
from pathlib import Path
from typing import Any, Dict, Tuple, Type, TypeVar

from . import structs as s
from .errors import DETAILS, error_for
from .version import __version__

# Before 1.0 a minor version may break the interface, from then on a major one: the library's name says which it is.
_major, _minor = __version__.split(".")[:2]
_SONAME = f"libcet.so.0.{_minor}" if _major == "0" else f"libcet.so.{_major}"

_Struct = TypeVar("_Struct", bound=s.Struct)

_handle = c.c_void_p
_out = c.POINTER(c.c_void_p)
_text_out = c.POINTER(c.c_void_p)
_size = c.c_size_t
_string = c.c_char_p
_float_array = c.POINTER(c.c_float)
_double_array = c.POINTER(c.c_double)


def _p(struct: Any) -> Any:
    return c.POINTER(struct)


# Name: result, arguments. A result of Status raises when it is negative.
_PROTOTYPES = {
    "cet_version_number": (c.c_uint32, []),
    "cet_version_string": (_string, []),
    "cet_status_string": (_string, [c.c_int32]),
    "cet_last_error_message": (_string, []),
    "cet_phase_string": (_string, [c.c_int32]),
    "cet_error_copy_last": (_handle, []),
    "cet_error_free": (None, [_handle]),
    "cet_error_status": (c.c_int32, [_handle]),
    "cet_error_message": (_string, [_handle]),
    "cet_error_get": (_string, [_handle, c.c_int32]),
    "cet_error_bytes_needed": (c.c_uint64, [_handle]),
    "cet_set_log": (None, [s.LogFn, c.c_void_p]),
    "cet_set_progress": (s.Status, [s.ProgressFn, c.c_void_p]),
    "cet_build_info_json": (s.Status, [_text_out]),
    "cet_free": (None, [c.c_void_p]),
    "cet_model_free": (None, [_handle]),
    "cet_calibration_free": (None, [_handle]),
    "cet_plan_free": (None, [_handle]),
    "cet_quantized_free": (None, [_handle]),
    "cet_curvature_free": (None, [_handle]),
    "cet_spectrum_free": (None, [_handle]),
    "cet_outputs_free": (None, [_handle]),
    "cet_model_load_file": (s.Status, [_string, _out]),
    "cet_model_load_memory": (s.Status, [c.c_void_p, _size, _out]),
    "cet_model_load": (s.Status, [_p(s.Source), _p(s.LoadOptions), _out]),
    "cet_model_reads_file": (s.Status, [_handle, _string, _p(c.c_uint32)]),
    "cet_model_input_count": (_size, [_handle]),
    "cet_model_get_input": (s.Status, [_handle, _size, _p(s.ValueInfo)]),
    "cet_model_output_count": (_size, [_handle]),
    "cet_model_get_output": (s.Status, [_handle, _size, _p(s.ValueInfo)]),
    "cet_model_get_info": (s.Status, [_handle, _p(s.ModelInfo)]),
    "cet_model_get_sha256": (s.Status, [_handle, _p(_string)]),
    "cet_model_opset_count": (_size, [_handle]),
    "cet_model_get_opset": (s.Status, [_handle, _size, _p(_string), _p(c.c_int64)]),
    "cet_model_metadata_count": (_size, [_handle]),
    "cet_model_get_metadata": (s.Status, [_handle, _size, _p(_string), _p(_string)]),
    "cet_model_parameter_count": (_size, [_handle]),
    "cet_model_get_parameter_vector": (s.Status, [_handle, _float_array, _size]),
    "cet_model_get_parameter": (s.Status, [_handle, _size, _p(s.ParameterInfo)]),
    "cet_model_inspect_json": (s.Status, [_handle, _text_out]),
    "cet_calibration_create": (s.Status, [_out]),
    "cet_calibration_add_batch": (s.Status, [_handle, _p(s.Tensor), _size, _p(s.Tensor)]),
    "cet_calibration_load_npz": (s.Status, [_string, _out]),
    "cet_calibration_sample_count": (c.c_uint64, [_handle]),
    "cet_calibration_batch_count": (_size, [_handle]),
    "cet_calibration_get_array": (s.Status, [_handle, _size, _string, _p(s.Tensor)]),
    "cet_plan": (s.Status, [_handle, _handle, _p(s.PlanOptions), _out]),
    "cet_plan_with_sensitivity": (s.Status, [_handle, _handle, _p(s.PlanOptions), _out]),
    "cet_plan_tensor_count": (_size, [_handle]),
    "cet_plan_activation_count": (_size, [_handle]),
    "cet_plan_get_activation": (s.Status, [_handle, _size, _p(s.PlanActivationInfo)]),
    "cet_plan_get_tensor": (s.Status, [_handle, _size, _p(s.PlanTensorInfo)]),
    "cet_plan_note_count": (_size, [_handle]),
    "cet_plan_get_note": (s.Status, [_handle, _size, c.POINTER(_string)]),
    "cet_plan_find_tensor": (s.Status, [_handle, _string, c.POINTER(_size)]),
    "cet_plan_get_summary": (s.Status, [_handle, _p(s.PlanSummaryInfo)]),
    "cet_plan_to_json": (s.Status, [_handle, _text_out]),
    "cet_plan_from_json": (s.Status, [_string, _out]),
    "cet_quantize": (s.Status, [_handle, _handle, _handle, _p(s.QuantizeOptions), _out]),
    "cet_quantize_memory": (s.Status, [_handle, _handle, _handle, _p(s.QuantizeOptions), c.POINTER(c.c_uint64)]),
    "cet_session_free": (None, [_handle]),
    "cet_session_create": (s.Status, [_handle, _handle, _p(s.PlanOptions), _out]),
    "cet_session_check": (s.Status, [_handle, _handle, _p(s.PlanOptions)]),
    "cet_session_add_batch": (s.Status, [_handle, _p(s.Tensor), _size, _p(s.Tensor)]),
    "cet_session_pull_batches": (s.Status, [_handle, s.BatchFn, c.c_void_p]),
    "cet_session_sample_count": (c.c_uint64, [_handle]),
    "cet_session_prepare": (s.Status, [_handle, s.ProgressFn, s.LogFn, c.c_void_p]),
    "cet_session_plan": (s.Status, [_handle, _p(s.PlanOptions), _out]),
    "cet_session_quantize": (s.Status, [_handle, _handle, _p(s.QuantizeOptions), _out]),
    "cet_session_save": (s.Status, [_handle, _string]),
    "cet_session_keep": (s.Status, [_handle, _string]),
    "cet_session_load": (s.Status, [_handle, _string, _out]),
    "cet_quantized_initializer_count": (_size, [_handle]),
    "cet_quantized_get_initializer": (s.Status, [_handle, _size, _p(s.InitializerView)]),
    "cet_quantized_find_initializer": (s.Status, [_handle, _string, c.POINTER(_size)]),
    "cet_quantized_dequantize": (s.Status, [_handle, _size, _float_array, _size]),
    "cet_quantized_dequantize_as": (s.Status, [_handle, _size, c.c_int32, c.c_void_p, c.c_uint64]),
    "cet_quantized_save_state": (s.Status, [_handle, _string]),
    "cet_quantized_load_state": (s.Status, [_handle, _string, _out]),
    "cet_quantized_to_dlpack": (s.Status, [_handle, _size, c.c_int32, _out]),
    "cet_quantized_get_plan": (s.Status, [_handle, _out]),
    "cet_quantized_correction_count": (_size, [_handle]),
    "cet_quantized_get_correction": (s.Status, [_handle, _size, _p(s.CorrectionView)]),
    "cet_quantized_save_file": (s.Status, [_handle, _string, _p(s.SaveOptions)]),
    "cet_quantized_save_memory": (s.Status, [_handle, _p(s.SaveOptions), _out, c.POINTER(_size)]),
    "cet_run_samples": (
        s.Status, [_handle, _handle, _size, c.c_uint64, _p(s.RunOptions), _p(c.c_uint64), _out]),
    "cet_run": (s.Status, [_handle, _p(s.Tensor), _size, _p(s.RunOptions), _out]),
    "cet_run_into": (s.Status, [_handle, _p(s.Tensor), _size, _p(s.RunOptions), _p(s.Buffer), _size]),
    "cet_tensor_from_dlpack": (s.Status, [c.c_void_p, _string, _p(s.Tensor)]),
    "cet_tensor_from_dlpack_unversioned": (s.Status, [c.c_void_p, _string, _p(s.Tensor)]),
    "cet_outputs_to_dlpack": (s.Status, [_handle, _size, _out]),
    "cet_outputs_count": (_size, [_handle]),
    "cet_outputs_get": (s.Status, [_handle, _size, _p(s.Tensor)]),
    "cet_outputs_find": (s.Status, [_handle, _string, c.POINTER(_size)]),
    "cet_curvature_create": (s.Status, [_handle, _handle, _p(s.CurvatureOptions), _out]),
    "cet_curvature_dimension": (_size, [_handle]),
    "cet_curvature_apply": (s.Status, [_handle, _float_array, _float_array, _size]),
    "cet_curvature_apply_block": (s.Status, [_handle, _float_array, _float_array, _size, _size]),
    "cet_communicator_range": (
        s.Status, [c.c_uint64, c.c_uint64, c.c_uint32, c.c_uint32, c.POINTER(c.c_uint64), c.POINTER(c.c_uint64)]),
    "cet_curvature_get_info": (s.Status, [_handle, _p(s.CurvatureInfo)]),
    "cet_curvature_gradient": (s.Status, [_handle, _float_array, _size]),
    "cet_curvature_loss": (s.Status, [_handle, _double_array]),
    "cet_curvature_note_count": (_size, [_handle]),
    "cet_curvature_get_note": (s.Status, [_handle, _size, c.POINTER(_string)]),
    "cet_curvature_parameter_count": (_size, [_handle]),
    "cet_curvature_get_parameter": (s.Status, [_handle, _size, _p(s.ParameterInfo)]),
    "cet_eigensolve": (s.Status, [s.ApplyFn, c.c_void_p, _size, _p(s.EigensolveOptions), _out]),
    "cet_eigensolve_curvature": (s.Status, [_handle, _p(s.EigensolveOptions), _out]),
    "cet_spectrum_get_info": (s.Status, [_handle, _p(s.SpectrumInfo)]),
    "cet_spectrum_count": (_size, [_handle]),
    "cet_spectrum_get_values": (s.Status, [_handle, _double_array, _size]),
    "cet_spectrum_get_residual_norms": (s.Status, [_handle, _double_array, _size]),
    "cet_spectrum_get_converged": (s.Status, [_handle, c.POINTER(c.c_uint8), _size]),
    "cet_spectrum_get_vector": (s.Status, [_handle, _size, _float_array, _size]),
    "cet_spectrum_save_file": (s.Status, [_handle, _string]),
    "cet_spectrum_load_file": (s.Status, [_string, _out]),
    "cet_spectrum_check_curvature": (s.Status, [_handle, _handle]),
    "cet_trace_estimate": (s.Status, [s.ApplyFn, c.c_void_p, _size, _p(s.EstimateOptions), _double_array, _double_array]),
    "cet_trace_estimate_curvature": (s.Status, [_handle, _p(s.EstimateOptions), _double_array, _double_array]),
    "cet_diagonal_estimate": (s.Status, [s.ApplyFn, c.c_void_p, _size, _p(s.EstimateOptions), _float_array, _float_array]),
    "cet_diagonal_estimate_curvature": (s.Status, [_handle, _p(s.EstimateOptions), _float_array, _float_array, _size]),
    "cet_spectral_density": (
        s.Status, [s.ApplyFn, c.c_void_p, _size, _p(s.EstimateOptions), _double_array, _double_array, _size]),
    "cet_spectral_density_curvature": (
        s.Status, [_handle, _p(s.EstimateOptions), _double_array, _double_array, _size]),
    "cet_spectral_density_evaluate": (
        s.Status,
        [_double_array, _double_array, _size, _size, c.c_double, _double_array, _double_array, _double_array, _size]),
    "cet_live_handle_count": (c.c_uint64, []),
    **{f"{struct._c_name_}_init": (s.Status, [_p(struct), _size]) for struct in s.ALL if struct not in (s.Tensor, s.Buffer, s.Batch, s.Source)},
}


def _candidates() -> Tuple[str, str]:
    """Places to load from, in order; the first that exists is taken."""
    inside = Path(__file__).with_name(_SONAME)
    if inside.exists():
        return str(inside), "in the package"
    named = os.environ.get("CET_LIBRARY")
    if named:
        return named, "named by CET_LIBRARY"
    return _SONAME, "searched by the system's loader"


def _load() -> Tuple[Any, str]:
    path, origin = _candidates()
    try:
        library = c.CDLL(path)
    except OSError as error:
        raise ImportError(
            f"cannot load libcet ({path}, {origin}): {error}. Install the library, or let CET_LIBRARY name libcet.so."
        ) from error
    for name, (result, arguments) in _PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{path} has no {name}: it is another version than this package ({__version__})") from None
        function.restype = result
        function.argtypes = arguments
    return library, path


lib, _path = _load()


def library_path() -> str:
    """What the library was loaded from."""
    return _path


def library_version() -> str:
    """Version of the loaded library, "major.minor.patch"."""
    return str(lib.cet_version_string().decode())


def build_info() -> Dict[str, Any]:
    """What the library was built with and runs on: "compilers", "instruction_set", "processors", "blas", "onednn"."""
    text = c.c_void_p()
    check(lib.cet_build_info_json(c.byref(text)))
    found: Dict[str, Any] = json.loads(taken_text(text))
    return found


def check(status: int) -> None:
    """Raises the exception of a failed call."""
    if not status:
        return
    last = lib.cet_error_copy_last()
    try:
        message = lib.cet_error_message(last) or lib.cet_status_string(status)
        error = error_for(status, message.decode("utf-8", "replace"))
        for number, name in enumerate(DETAILS, 1):
            text = lib.cet_error_get(last, number)
            setattr(error, name, None if text is None else text.decode("utf-8", "replace"))
        error.bytes_needed = lib.cet_error_bytes_needed(last) or None
    finally:
        lib.cet_error_free(last)
    raise error


def initialized(struct: Type[_Struct]) -> _Struct:
    """An option or info struct, zeroed and with its size set."""
    value = struct()
    check(getattr(lib, f"{struct._c_name_}_init")(c.byref(value), c.sizeof(struct)))
    return value


def taken_text(pointer: c.c_void_p) -> str:
    """The string that the library made; frees it."""
    try:
        return c.string_at(pointer).decode()
    finally:
        lib.cet_free(pointer)
