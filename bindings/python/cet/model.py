"""Models: loading, looking, running."""

from __future__ import annotations

import ctypes as c
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

import numpy as np

from . import structs as s
from .calibration import Calibration
from .errors import InvalidArgument
from .grammar import ByteSize, byte_size
from .library import check, initialized, lib, taken_text
from .native import TYPE_NAMES, Callbacks, Handle, Log, Pathlike, Tensors, Watch, copied, made, path_bytes, shape_of
from .progress import Progress

Bytes = Union[bytes, bytearray, memoryview]


@dataclass(frozen=True)
class Parameter:
    """A stretch of the parameter vector: one quantizable initializer, in C order."""

    name: str
    shape: Tuple[int, ...]
    offset: int
    count: int

    @property
    def slice(self) -> slice:
        """Its elements in the parameter vector."""
        return slice(self.offset, self.offset + self.count)


@dataclass(frozen=True)
class Input:
    """A model input that must be fed, or an output. Unknown sizes are -1; `shape` and `dtype` are None when the model is silent."""

    name: str
    shape: Optional[Tuple[int, ...]]
    dtype: Optional[str]


Output = Input


@dataclass(frozen=True)
class ModelInfo:
    """Where a model comes from, in its own words; "" where it says nothing."""

    ir_version: int
    model_version: int
    producer_name: str
    producer_version: str
    domain: str
    graph_name: str
    documentation: str
    file_bytes: int
    opsets: Dict[str, int]
    """By domain; "" is the default one."""
    metadata: Dict[str, str]


class Model(Handle):
    """An ONNX model, from a path or from bytes; immutable.

    A model from a path is pickled as the path and the file's SHA-256, one from bytes as the bytes, which it holds for that. What is
    read is copied: later changes of files and buffers change nothing.

    Args:
        source: A path, or the contents of the file.
        external_data: Of a model from bytes, the bytes of the files that its tensors are in, by the locations that it names. A
            model from a path has them in its folder.

    Raises:
        IOFailure: The file cannot be read.
        InvalidModel: It is no ONNX model.
    """

    _free = "cet_model_free"

    def __init__(self, source: Union[Pathlike, Bytes], external_data: Optional[Mapping[str, Bytes]] = None):
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = bytes(source)
            self._source: Union[str, bytes] = data
            self._external = {name: bytes(contents) for name, contents in (external_data or {}).items()}
            handle = _loaded(data, self._external)
        elif external_data is None:
            self._source, self._external = os.path.abspath(source), {}
            handle = Watch().handle(lib.cet_model_load_file, path_bytes(source))
        else:
            raise InvalidArgument("external_data belongs to a model from bytes; one from a path has it in its folder")
        super().__init__(handle)

    def __reduce__(self) -> Any:
        return _model_again, (self._source, self.sha256, self._external or None)

    def types(self) -> Dict[str, Optional[str]]:
        """Element types of the inputs by name, as `inputs` has them."""
        return {value.name: value.dtype for value in self.inputs}

    @property
    def inputs(self) -> List[Input]:
        """Inputs that a caller must feed, in the graph's order."""
        return self._values(lib.cet_model_input_count, lib.cet_model_get_input)

    @property
    def outputs(self) -> List[Output]:
        """Outputs, in the graph's order."""
        return self._values(lib.cet_model_output_count, lib.cet_model_get_output)

    def _values(self, count: Any, get: Any) -> List[Input]:
        result = []
        for index in range(count(self._handle)):
            info = initialized(s.ValueInfo)
            check(get(self._handle, index, c.byref(info)))
            shape = shape_of(info) if info.shape or info.rank else None
            result.append(Input(info.name.decode(), shape, TYPE_NAMES.get(info.element_type)))
        return result

    @property
    def info(self) -> ModelInfo:
        """What the model says of itself."""
        info = initialized(s.ModelInfo)
        check(lib.cet_model_get_info(self._handle, c.byref(info)))
        opsets, metadata = {}, {}
        for index in range(lib.cet_model_opset_count(self._handle)):
            domain, version = c.c_char_p(), c.c_int64()
            check(lib.cet_model_get_opset(self._handle, index, c.byref(domain), c.byref(version)))
            opsets[(domain.value or b"").decode()] = version.value
        for index in range(lib.cet_model_metadata_count(self._handle)):
            key, value = c.c_char_p(), c.c_char_p()
            check(lib.cet_model_get_metadata(self._handle, index, c.byref(key), c.byref(value)))
            metadata[(key.value or b"").decode()] = (value.value or b"").decode()
        return ModelInfo(
            info.ir_version, info.model_version, info.producer_name.decode(), info.producer_version.decode(),
            info.domain.decode(), info.graph_name.decode(), info.documentation.decode(), info.file_bytes, opsets, metadata)

    @property
    def sha256(self) -> str:
        """Of the model file without external data; computed when first asked for."""
        digest = c.c_char_p()
        check(lib.cet_model_get_sha256(self._handle, c.byref(digest)))
        return (digest.value or b"").decode()

    @property
    def parameters(self) -> List[Parameter]:
        """The quantizable weights in the order of the parameter vector."""
        return read_parameters(self._handle, lib.cet_model_parameter_count, lib.cet_model_get_parameter)

    def parameter_vector(self) -> np.ndarray[Any, Any]:
        """The weights as one float32 vector, in which `parameters` says what is where."""
        last = self.parameters[-1:]
        values = np.empty(last[0].slice.stop if last else 0, np.float32)
        check(lib.cet_model_get_parameter_vector(self._handle, values.ctypes.data_as(c.POINTER(c.c_float)), values.size))
        return values

    def reads(self, path: Pathlike) -> bool:
        """Whether the model or its external data was loaded from this file, whatever name or link leads to it."""
        reads = c.c_uint32()
        check(lib.cet_model_reads_file(self._handle, path_bytes(path), c.byref(reads)))
        return bool(reads.value)

    def __repr__(self) -> str:
        parameters = self.parameters
        weights = sum(parameter.count for parameter in parameters)
        return f"<cet.Model: {len(parameters)} quantizable tensors, {weights:,} weights>"


def _loaded(data: bytes, external_data: Mapping[str, bytes]) -> c.c_void_p:
    kept: List[bytes] = []  # as long as the call reads them

    def fill(source: Any, contents: bytes) -> None:
        kept.append(bytes(contents))
        source.data, source.size = c.cast(c.c_char_p(kept[-1]), c.c_void_p), len(kept[-1])

    def external(location: bytes, source: Any, _: Any) -> int:
        contents = external_data.get(location.decode("utf-8", "surrogateescape"))
        if contents is None:
            return 1
        fill(source.contents, contents)
        return 0

    source, options = s.Source(), initialized(s.LoadOptions)
    fill(source, data)
    if external_data:
        options.external = s.ExternalFn(external)
    return made(lib.cet_model_load, c.byref(source), c.byref(options))


def _model_again(source: Union[str, bytes], sha256: str, external_data: Optional[Mapping[str, bytes]] = None) -> Model:
    model = Model(source, external_data)
    if model.sha256 != sha256:
        raise InvalidArgument(
            f"{source!r} is another model than the one that was pickled: SHA-256 {model.sha256}, expected {sha256}")
    return model


def read_parameters(handle: c.c_void_p, count: Any, get: Any) -> List[Parameter]:
    result = []
    for index in range(count(handle)):
        info = initialized(s.ParameterInfo)
        check(get(handle, index, c.byref(info)))
        result.append(Parameter(info.name.decode(), shape_of(info), info.offset, info.count))
    return result


def inspect(model: Model) -> Dict[str, Any]:
    """What is in a model and what can be done with it, before any work starts.

    Inputs, outputs, opset, operators with counts and exact second-derivative rules, parameters, bytes and the
    smallest reachable size. "compress" says whether the model can be compressed ("yes", "needs data", "no") and why;
    "quantized" what is quantized in it already.
    """
    text = c.c_void_p()
    check(lib.cet_model_inspect_json(model._handle, c.byref(text)))
    found: Dict[str, Any] = json.loads(taken_text(text))
    return found


def run(
    model: Model, inputs: Mapping[str, Any], *, threads: int = 0, max_memory: Optional[ByteSize] = None,
    progress: Optional[Progress] = None, log: Optional[Log] = None, out: Optional[Mapping[str, np.ndarray[Any, Any]]] = None,
) -> Dict[str, np.ndarray[Any, Any]]:
    """Runs the model with the library's own executor.

    Args:
        inputs: One array per model input, by name, of the model's element type and shape; float16, bfloat16 and float64 serve
            for float32 too. Initializers that are inputs may be given as well.
        threads: 0 for all processors.
        max_memory: Bytes that all values of the run together may have, or text like "2GB"; None for 60 % of what is available.
        progress: Called with (phase, done, total); an exception raised in it cancels the run. True shows a bar.
        log: Called with (level, message).
        out: Arrays that some outputs are written into, by name, in C order and of the outputs' own types and shapes. The
            others are dropped.

    Returns:
        The outputs by name, in the graph's order; with `out` its arrays.

    Raises:
        InvalidArgument: Names, element types, class numbers that are none.
        ShapeMismatch: Shapes that do not fit the model, or an array of `out` that does not fit its output.
        UnsupportedOperator: A node that the library does not execute; `node` names it.
        OutOfMemory: The values of the run need more than max_memory.
    """
    tensors, callbacks = Tensors(inputs, model.types), Callbacks(progress, log)
    options = _run_options(callbacks, threads, max_memory)
    if out is None:
        return callbacks.made(_taken, lib.cet_run, model._handle, tensors.array, tensors.count, c.byref(options))
    buffers, kept = _buffers(out)
    callbacks.call(lib.cet_run_into, model._handle, tensors.array, tensors.count, c.byref(options), buffers, len(out))
    return dict(out)


def _run_options(callbacks: Callbacks, threads: int, max_memory: Optional[ByteSize]) -> s.RunOptions:
    options = initialized(s.RunOptions)
    options.threads, options.max_memory = threads, byte_size("max_memory", max_memory)
    options.progress, options.log = callbacks.progress, callbacks.log
    return options


def _buffers(out: Mapping[str, np.ndarray]) -> Tuple[Any, Tensors]:
    """The arrays as cet_buffer structs, and what these point into."""
    for name, array in out.items():
        if not isinstance(array, np.ndarray) or not array.flags.c_contiguous or not array.flags.writeable:
            raise InvalidArgument(f"out {name!r}: expected a NumPy array in C order that can be written")
        if not array.dtype.isnative:
            raise InvalidArgument(f"out {name!r}: expected the machine's order of bytes")
    kept = Tensors(out)
    buffers = (s.Buffer * kept.count)()
    for buffer, tensor in zip(buffers, kept.array):
        for field, *_ in s.Buffer._fields_:
            setattr(buffer, field, getattr(tensor, field))
    return buffers, kept


def _taken(outputs: c.c_void_p) -> Dict[str, np.ndarray]:
    try:
        result = {}
        for index in range(lib.cet_outputs_count(outputs)):
            tensor = s.Tensor()
            check(lib.cet_outputs_get(outputs, index, c.byref(tensor)))
            result[tensor.name.decode()] = copied(tensor)
        return result
    finally:
        lib.cet_outputs_free(outputs)


def run_samples(
    model: Model, calibration: Calibration, *, batch_size: int = 0, threads: int = 0, max_memory: Optional[ByteSize] = None,
    progress: Optional[Progress] = None, log: Optional[Log] = None
) -> Iterator[Dict[str, np.ndarray]]:
    """Runs the model on the samples of a calibration, as planning feeds them; gives the outputs batch by batch.

    Inputs are cut along the axis that counts samples, those without one are given whole; float32 is narrowed to float16
    where the model asks for that.

    Args:
        batch_size: Samples computed together; 0 for what the model fixes, else 32.
        threads: 0 for all processors.
        max_memory, progress, log: As for `run`, of every batch.
    """
    callbacks = Callbacks(progress, log)
    options = _run_options(callbacks, threads, max_memory)
    options.batch_size = batch_size
    data = calibration.fitting(model)
    for batch in range(lib.cet_calibration_batch_count(data._handle)):
        first, count = 0, c.c_uint64()
        while True:
            outputs = callbacks.made(
                lambda handle: _taken(handle) if handle else None, lib.cet_run_samples, model._handle, data._handle, batch, first,
                c.byref(options), c.byref(count))
            if outputs is None:
                break
            yield outputs
            first += count.value
