"""Writes Tests/Fixtures/curvature/digits_cnn.txt: loss, gradient and Hessian of digits_cnn by PyTorch in float64.

usage: python tools/make_curvature_fixture.py
The Hessian is given by its products with the vectors v_k[i] = sin(0.1 (k + 1) (i + 1)), k = 0..3, over the
parameter vector (weights in graph order, C order): the lines hold v_j' H v_k and g' v_k, means over the first 32
calibration samples. Needs numpy, onnx and torch.
"""
import os
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

import arguments

arguments.Parser(__doc__).parse_args()
here = os.path.dirname(os.path.abspath(__file__))
fixtures = os.path.join(here, "..", "Tests", "Fixtures")
graph = onnx.load(os.path.join(fixtures, "digits_cnn", "model.onnx")).graph
held = {t.name: torch.from_numpy(numpy_helper.to_array(t).astype(np.float64)) for t in graph.initializer}
weights = [n.input[1] for n in graph.node if n.op_type in ("Conv", "Gemm")]
data = np.load(os.path.join(fixtures, "digits_cnn", "calibration.npz"))
x = torch.from_numpy(data[graph.input[0].name][:32].astype(np.float64))
labels = torch.from_numpy(data["labels"][:32].astype(np.int64))


def logits(parameters):
    values = {**held, **parameters, graph.input[0].name: x}
    for node in graph.node:
        a = {t.name: onnx.helper.get_attribute_value(t) for t in node.attribute}
        i = [values[name] for name in node.input]
        if node.op_type == "Conv":
            pads = a.get("pads", [0] * 4)
            assert pads[:2] == pads[2:]
            y = F.conv2d(i[0], i[1], i[2] if len(i) > 2 else None, a.get("strides", 1), pads[:2], a.get("dilations", 1), a.get("group", 1))
        elif node.op_type == "Relu": y = F.relu(i[0])
        elif node.op_type == "Add": y = i[0] + i[1]
        elif node.op_type == "GlobalAveragePool": y = i[0].mean((2, 3), keepdim=True)
        elif node.op_type == "Flatten": y = i[0].flatten(1)
        elif node.op_type == "Gemm": y = F.linear(i[0], i[1], i[2])
        else: raise SystemExit(f"operator {node.op_type}")
        values[node.output[0]] = y
    return values[graph.output[0].name]


count = sum(held[n].numel() for n in weights)
vectors = [torch.sin(0.1 * (k + 1) * torch.arange(1, count + 1, dtype=torch.float64)) for k in range(4)]
split = lambda v: [p.reshape(held[n].shape) for n, p in zip(weights, torch.split(v, [held[n].numel() for n in weights]))]
reference = logits({}).detach()
lines = []
for name in ("cross-entropy", "kl"):
    parameters = {n: held[n].clone().requires_grad_(True) for n in weights}
    z = logits(parameters)
    if name == "kl":
        loss = F.kl_div(z.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="sum") / len(x)
    else:
        loss = F.cross_entropy(z, labels)
    leaves = list(parameters.values())
    gradient = torch.autograd.grad(loss, leaves, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in gradient])
    products = [torch.cat([h.reshape(-1) for h in torch.autograd.grad(gradient, leaves, grad_outputs=split(v), retain_graph=True)]) for v in vectors]
    lines.append(f"{name} loss {loss.item():.17g}")
    lines.append(f"{name} gradient " + " ".join(f"{(flat.detach() @ v).item():.17g}" for v in vectors))
    for j, v in enumerate(vectors):
        lines.append(f"{name} hessian{j} " + " ".join(f"{(v @ h).item():.17g}" for h in products))
os.makedirs(os.path.join(fixtures, "curvature"), exist_ok=True)
with open(os.path.join(fixtures, "curvature", "digits_cnn.txt"), "w") as out:
    out.write("\n".join(lines) + "\n")
