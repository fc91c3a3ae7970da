"""The structs of cet/cet.h for ctypes, field by field in the header's order."""

from typing import List, Type

from .base import (
    AllreduceFn, Batch, BatchFn, Buffer, Communicator, Executor, LogFn, ProgressFn, Status, Struct, Tensor)
from .models import ExternalFn, LoadOptions, ModelInfo, ParameterInfo, ReadFn, ReleaseFn, RunOptions, Source, ValueInfo
from .plans import (
    CorrectionView, InitializerView, PlanActivationInfo, PlanOptions, PlanSummaryInfo, PlanTensorInfo, QuantizeOptions, SaveOptions)
from .spectra import ApplyBlockFn, ApplyFn, CurvatureInfo, CurvatureOptions, EigensolveOptions, EstimateOptions, SpectrumInfo

__all__ = [
    "ALL", "AllreduceFn", "ApplyBlockFn", "ApplyFn", "Batch", "BatchFn", "Buffer", "Communicator", "CorrectionView", "CurvatureInfo",
    "CurvatureOptions", "EigensolveOptions", "EstimateOptions", "Executor", "ExternalFn", "InitializerView", "LoadOptions", "LogFn",
    "ModelInfo", "ParameterInfo", "PlanOptions", "PlanActivationInfo", "PlanSummaryInfo", "PlanTensorInfo", "ProgressFn", "QuantizeOptions",
    "ReadFn", "ReleaseFn", "RunOptions", "SaveOptions", "Source", "SpectrumInfo", "Status", "Struct", "Tensor", "ValueInfo",
]

ALL: List[Type[Struct]] = [
    Tensor, Source, LoadOptions, PlanOptions, PlanTensorInfo, PlanActivationInfo, PlanSummaryInfo, QuantizeOptions, InitializerView,
    SaveOptions, ValueInfo, ParameterInfo, RunOptions, Communicator, CurvatureOptions, CurvatureInfo, EigensolveOptions, SpectrumInfo,
    EstimateOptions, CorrectionView, Buffer, Executor, ModelInfo, Batch,
]
