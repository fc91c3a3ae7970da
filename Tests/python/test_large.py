"""Results over 2 GiB: one ONNX file does not hold them, so large tensors go to a file beside it."""

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_constants import TAIL, compressed, model, node, weights
from test_names import close, run

import cet

ROWS, WIDTH = 560_000, 1024


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A model whose table has 2.3 GB, nearly all of it a hole in its file."""
    folder = tmp_path_factory.mktemp("large")
    if shutil.disk_usage(folder).free < 6 << 30:
        pytest.skip("6 GB of disk are needed")
    nodes = [node("Gather", ["E", "ids"], "e"), node("ReduceMean", ["e"], "m", axes=[1], keepdims=0), node("Add", ["m", "c"], "t"), TAIL[1]]
    proto = onnx.load_from_string(model(nodes, inputs=(), V=weights(WIDTH, 8), c=weights(WIDTH)))
    proto.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 3]))
    table = proto.graph.initializer.add()
    table.name, table.data_type, table.data_location = "E", TensorProto.FLOAT, TensorProto.EXTERNAL
    table.dims.extend([ROWS, WIDTH])
    for key, value in (("location", "table.bin"), ("offset", "0"), ("length", str(4 * ROWS * WIDTH))):
        entry = table.external_data.add()
        entry.key, entry.value = key, value
    head = np.random.default_rng(1).standard_normal((64, WIDTH)).astype(np.float32)
    with open(folder / "table.bin", "wb") as file:
        file.write(head.tobytes())
        file.truncate(4 * ROWS * WIDTH)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    yield folder
    shutil.rmtree(folder)


@pytest.mark.long
def test_resultOverTwoGibibytes_withAKeptTable_isWrittenWithItsData(large, tool):
    ids = np.random.default_rng(2).integers(0, 64, (16, 3))
    loaded, data = cet.Model(large / "m.onnx"), cet.Calibration({"ids": ids})
    plan = cet.plan(loaded, data, target_bits=8, loss="mse", keep=["E"])
    small = cet.quantize(loaded, data, plan)
    with pytest.raises(cet.CetError, match="save it to a path"):
        small.to_bytes()
    small.save(large / "o.onnx")
    written = sum((large / name).stat().st_size for name in ("o.onnx", "o.onnx.data"))
    assert written <= small.plan.summary.file_bytes < written + 1000
    np.savez(large / "ids.npz", ids=ids)
    told = json.loads(tool(
        "compress", large / "m.onnx", large / "o2.onnx", "--data", large / "ids.npz", "--target-bits", 8, "--loss", "mse", "--keep", "E",
        "--dry-run", "--json").stdout)["dry_run"]
    assert (told["exact"], told["file_bytes"]) == (False, small.plan.summary.file_bytes)
    predicted = cet.run(cet.Model(large / "o.onnx"), {"ids": ids})["y"]
    assert close(run(str(large / "o.onnx"), ids=ids)[0], predicted)
    expected = cet.run(loaded, {"ids": ids})["y"]
    assert np.linalg.norm(predicted - expected) < 0.02 * np.linalg.norm(expected)
