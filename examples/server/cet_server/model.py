"""The models as kserve sees them."""

from __future__ import annotations

import asyncio
from typing import Callable, Mapping

import kserve
import numpy as np
from kserve.errors import InvalidInput
from kserve.utils.numpy_codec import from_np_dtype
from kserve.utils.utils import generate_uuid

from .compressor import Version, checked_inputs

_DATATYPES = {
    "tensor(float)": "FP32", "tensor(float16)": "FP16", "tensor(double)": "FP64", "tensor(int64)": "INT64",
    "tensor(int32)": "INT32", "tensor(int8)": "INT8", "tensor(uint8)": "UINT8", "tensor(bool)": "BOOL"}


class CompressedModel(kserve.Model):
    """Answers with whatever version is the current one when a request arrives.

    A swap is one assignment: a request holds the version that it began with until it is answered, and the old session is freed
    when the last of them is.
    """

    def __init__(self, name: str, version: Version, gather: Callable[[Mapping[str, np.ndarray]], None]):
        super().__init__(name)
        self._version = version
        self._gather = gather
        self.ready = True

    def swap(self, version: Version) -> None:
        """From now on this version answers."""
        self._version = version

    async def predict(self, payload, headers=None, response_headers=None) -> kserve.InferResponse:
        """An answer of the Open Inference Protocol v2; `model_version` is the number of the plan behind it."""
        version = self._version
        if not isinstance(payload, kserve.InferRequest):
            raise InvalidInput(f"model {self.name!r} speaks the Open Inference Protocol v2")
        batch = _arrays(payload, version)
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(None, version.session.run, None, batch)
        self._gather(batch)
        names = [value.name for value in version.session.get_outputs()]
        return kserve.InferResponse(
            response_id=payload.id or generate_uuid(), model_name=self.name, model_version=str(version.number),
            infer_outputs=[
                kserve.InferOutput(name, list(array.shape), from_np_dtype(array.dtype), array)
                for name, array in zip(names, outputs)],
            use_binary_outputs=payload.use_binary_outputs, requested_outputs=payload.request_outputs)

    def get_input_types(self) -> list[dict]:
        """For the model's metadata."""
        return _types(self._version.session.get_inputs())

    def get_output_types(self) -> list[dict]:
        """For the model's metadata."""
        return _types(self._version.session.get_outputs())


def _arrays(request: kserve.InferRequest, version: Version) -> dict[str, np.ndarray]:
    """A request's inputs; what does not fit is the client's error (400)."""
    types = {value.name: _DATATYPES.get(value.type) for value in version.session.get_inputs()}
    batch = {}
    for value in request.inputs:
        if value.name in types and value.datatype != types[value.name]:
            raise InvalidInput(f"input {value.name!r} is {value.datatype}, expected {types[value.name]}")
        try:
            batch[value.name] = value.as_numpy()
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"input {value.name!r}: {error}") from None
    wrong = checked_inputs(version.session, batch)
    if wrong:
        raise InvalidInput(wrong)
    return batch


def _types(values) -> list[dict]:
    """Open sizes are -1, as the protocol has them."""
    return [
        {"name": value.name, "datatype": _DATATYPES.get(value.type, value.type),
         "shape": [size if isinstance(size, int) else -1 for size in value.shape]}
        for value in values]
