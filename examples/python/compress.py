"""usage: python compress.py MODEL.onnx CALIBRATION.npz RATIO OUT.onnx"""

import cet
from arguments import arguments

path, calibration, ratio, output = arguments(__doc__)
model = cet.Model(path)
data = cet.Calibration.from_npz(calibration)
plan = cet.plan(model, data, target_ratio=float(ratio))
print(plan)
quantized = cet.quantize(model, data, plan)
print(quantized)
quantized.save(output)
