"""Mixed-precision compression of ONNX models: 1 to 8 bits a weight, chosen for every tensor.

    model = cet.Model("m.onnx")
    data = cet.Calibration({"input": x}, labels=y)
    plan = cet.plan(model, data, target_ratio=11)
    cet.quantize(model, data, plan).save("m.cet.onnx")

Conventions
-----------
Losses, gradients and Hessian-vector products are means over the calibration samples. Sizes are bytes, `bits` are
bits of one code. Numbers that are not known are NaN.

Threads
-------
Calls release the interpreter's lock. Model, Plan, Quantized and Spectrum are immutable and may be used by several
threads at once; Calibration and Hessian lock themselves. Ctrl-C cancels a running call of `plan`, `quantize`,
`eigsh`, `trace`, `diagonal` and `spectral_density`, and of what reads or writes files, and raises KeyboardInterrupt.

Errors
------
What fails raises a `CetError`, one class per status. Its message names the place; `node`, `initializer`, `input`, `expected`,
`got` and `bytes_needed` are parts of it by themselves.

Memory
------
Arrays that the package returns are copies and outlive the objects they came from. Where arrays are taken, anything with
`__dlpack__` in the processor's memory will do (PyTorch's bfloat16 too).
"""

from . import mpi, plots
from .calibration import Calibration
from .communicator import Communicator
from .dlpack import DLPackArray
from .errors import (
    Cancelled,
    CetError,
    InfeasibleBudget,
    InternalError,
    InvalidArgument,
    InvalidModel,
    IOFailure,
    NotConverged,
    NumericError,
    OutOfMemory,
    ShapeMismatch,
    UnsupportedOperator,
)
from .estimates import SpectralDensity, diagonal, spectral_density, trace
from .hessian import CurvatureInfo, Hessian
from .library import build_info, library_path, library_version
from .model import Model, ModelInfo, Parameter, inspect, run, run_samples
from .plan import Plan, PlanActivation, PlanSummary, PlanTensor, plan
from .quantized import Correction, Initializer, Quantized, quantize
from .report import report
from .session import Session
from .spectrum import Spectrum, eigsh
from .version import __version__

__all__ = [
    "Calibration", "Cancelled", "CetError", "Communicator", "Correction", "CurvatureInfo", "DLPackArray", "Hessian",
    "IOFailure", "InfeasibleBudget", "Initializer", "InternalError", "InvalidArgument", "InvalidModel", "Model",
    "ModelInfo", "NotConverged", "NumericError", "OutOfMemory", "Parameter", "Plan", "PlanActivation", "PlanSummary", "PlanTensor",
    "Quantized", "Session", "ShapeMismatch", "SpectralDensity", "Spectrum", "UnsupportedOperator", "__version__",
    "build_info", "diagonal", "eigsh", "inspect", "library_path", "library_version", "mpi", "plan", "plots", "quantize",
    "report", "run", "run_samples", "spectral_density", "trace",
]
