import CetGraph
import CetOperators
import CetTensor

private let positive: ClosedRange<Double> = 0.3...1.7

/// Samples by family. Operands stay away from kinks: ranges exclude them or the seed happens to.
func elementwiseSamples() throws -> [Sample] {
  let smooth = [
    "Neg", "Exp", "Tanh", "Sigmoid", "Softplus", "Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh", "Mish", "Swish",
    "Gelu", "Softsign", "Identity", "Abs", "Relu", "LeakyRelu", "Elu", "Celu", "Selu", "HardSigmoid", "HardSwish",
    "ThresholdedRelu", "Shrink", "Clip", "Dropout",
  ]
  return smooth.map { Sample($0, [real(2, 3)]) }
    + ["Log", "Sqrt", "Reciprocal"].map { Sample($0, [real(2, 3, in: positive)]) }
    + ["Tan", "Asin", "Acos", "Atanh"].map { Sample($0, [real(2, 3, in: -0.8...0.8)]) }
    + ["Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"].map { Sample($0, [real(2, 3), real(3)]) }
    + [
      Sample("Acosh", [real(2, 3, in: 1.5...2.5)]), Sample("Div", [real(2, 3), real(2, 1, in: positive)]),
      Sample("Pow", [real(2, 3, in: positive), real(3)]), Sample("PRelu", [real(2, 3), real(3)]),
      Sample("Gelu", [real(2, 3)], ["approximate": .text("tanh")]),
      Sample("Mod", [real(2, 3, in: 3.1...3.9), real(3, in: 1.1...1.4)], ["fmod": .int(1)]),
      Sample("Mod", [real(2, 3, in: 3.1...3.9), real(3, in: 1.1...1.4)]),
      Sample("Clip", opset: 6, [real(4, 3)], ["min": .float(-0.5), "max": .float(0.4)]),
      Sample("Add", opset: 6, [real(2, 3, 2), real(3)], ["axis": .int(1), "broadcast": .int(1)]),
      Sample("SwiGLU", [real(2, 3), real(2, 3)]), Sample("Cast", [real(2, 3)], ["to": .int(11)]),
      Sample("CastLike", [real(2, 3), try doubles(1)]),
      Sample("Where", [try flags([true, false, true], [3]), real(2, 3), real(3)]),
    ]
}

func movementSamples() throws -> [Sample] {
  [
    Sample("Reshape", [real(2, 6), try integers(3, -1)]), Sample("Flatten", [real(2, 3, 2)]),
    Sample("Squeeze", [real(2, 1, 3), try integers(1)]), Sample("Unsqueeze", [real(2, 3), try integers(1)]),
    Sample("Transpose", [real(2, 3, 4)], ["perm": .ints([2, 0, 1])]), Sample("Expand", [real(3, 1), try integers(2, 3, 4)]),
    Sample("Tile", [real(2, 3), try integers(2, 2)]), Sample("Concat", [real(2, 3), real(2, 1)], ["axis": .int(1)]),
    Sample("Split", [real(4, 3)], ["num_outputs": .int(2)], outputs: 2),
    Sample("Slice", [real(4, 5), try integers(3, 1), try integers(0, 5), try integers(0, 1), try integers(-1, 2)]),
    Sample("Pad", [real(3, 4), try integers(1, 0, 0, 2)]),
    Sample("Pad", [real(3, 4), try integers(1, 1, 2, 2)], ["mode": .text("reflect")]),
    Sample("Pad", [real(3, 4), try integers(1, 1, 2, 2)], ["mode": .text("edge")]),
    Sample("Gather", [real(4, 3), try integers([2, -1, 2, 0], [2, 2])], ["axis": .int(0)]),
    Sample("GatherElements", [real(3, 3), try integers([1, 2, 0, 2, 0, 0], [2, 3])], ["axis": .int(0)]),
    Sample("GatherND", [real(3, 4, 2), try integers([0, 1, 2, 3, 2, 3], [3, 2])]),
    Sample("ScatterElements", [real(3, 3), try integers([1, 0, 2, 0, 2, 1], [2, 3]), real(2, 3)], ["axis": .int(0)]),
    Sample("ScatterElements", [real(3, 3), try integers([1, 1, 2, 1], [1, 4].reversed()), real(4, 1)], ["axis": .int(0), "reduction": .text("mul")]),
    Sample("Scatter", opset: 10, [real(3, 3), try integers([1, 0, 2], [1, 3]), real(1, 3)], ["axis": .int(0)]),
    Sample("ScatterND", [real(4, 2), try integers([1, 1, 3], [3, 1]), real(3, 2)], ["reduction": .text("add")]),
    Sample("ScatterND", [real(4, 2), try integers([1, 1, 3], [3, 1]), real(3, 2)], ["reduction": .text("max")]),
    Sample("TensorScatter", [real(2, 4, 3), real(2, 2, 3), try integers(1, 3)], ["mode": .text("circular")]),
    Sample("OneHot", [try integers(0, 2, -1), try scalar(3), real(2)]),
    Sample("TopK", [real(3, 5), try integers(2)], outputs: 2),
    Sample("Compress", [real(3, 2), try flags([true, false, true], [3])], ["axis": .int(0)]),
    Sample("CumSum", [real(3, 4), try scalar(1)], ["exclusive": .int(1), "reverse": .int(1)]),
    Sample("CumProd", [real(2, 4, in: positive), try scalar(1)]),
    Sample("Trilu", [real(2, 3, 4), try scalar(1)]), Sample("ReverseSequence", [real(4, 2), try integers(3, 2)]),
    Sample("DepthToSpace", [real(1, 8, 2, 3)], ["blocksize": .int(2)]),
    Sample("SpaceToDepth", [real(1, 2, 4, 2)], ["blocksize": .int(2)]),
    Sample("CenterCropPad", [real(4, 3), try integers(2, 5)]),
    Sample("Col2Im", [real(1, 8, 4), try integers(3, 3), try integers(2, 2)]),
    Sample("Resize", [real(1, 1, 3, 4), .omitted, try doubles(1, 1, 1.6, 0.7)], ["mode": .text("linear")]),
    Sample("Resize", [real(1, 1, 4, 4), .omitted, try doubles(1, 1, 1.6, 0.7)], ["mode": .text("cubic")]),
    Sample("Resize", [real(1, 1, 8, 4), .omitted, try doubles(1, 1, 0.3, 2)], ["mode": .text("linear"), "antialias": .int(1)]),
    Sample("Resize", [real(1, 1, 3, 4), .omitted, try doubles(1, 1, 2, 2)]),
    Sample("Upsample", opset: 9, [real(1, 1, 2, 3), try doubles(1, 1, 2, 2)]),
    Sample("AffineGrid", [real(2, 2, 3), try integers(2, 1, 3, 2)]),
    Sample("GridSample", [real(1, 2, 3, 4), real(1, 2, 2, 2, in: -0.8...0.8)], ["align_corners": .int(1)]),
    Sample("GridSample", [real(1, 1, 4, 4), real(1, 2, 2, 2)], ["mode": .text("cubic"), "padding_mode": .text("border")]),
    Sample("GridSample", [real(1, 1, 4, 4), real(1, 2, 2, 2, in: -1.6...1.6)], ["padding_mode": .text("reflection")]),
  ]
}

func linearSamples() throws -> [Sample] {
  let pads: [String: Attribute] = ["pads": .ints([1, 0, 1, 1]), "strides": .ints([2, 1])]
  let lengths = Sample.Operand.constant(try Tensor([3, 2] as [Int32], shape: [2]))
  return [
    Sample("MatMul", [real(2, 3, 4), real(4, 2)]), Sample("MatMul", [real(2, 1, 3, 4), real(3, 4, 2)]), Sample("MatMul", [real(4), real(4)]),
    Sample("Gemm", [real(4, 3), real(2, 4), real(2)], ["transA": .int(1), "transB": .int(1), "alpha": .float(0.5), "beta": .float(2)]),
    Sample("Conv", [real(2, 4, 5, 4), real(4, 2, 3, 2), real(4)], pads.merging(["group": .int(2)]) { $1 }, single: true),
    Sample("ConvTranspose", [real(1, 2, 3, 3), real(2, 3, 2, 2), real(3)], pads, single: true),
    Sample("CausalConvWithState", [real(2, 3, 4), real(3, 1, 3), real(3), real(2, 3, 2)], single: true),
    Sample("Einsum", [real(2, 3, 4), real(2, 4, 5), real(5)], ["equation": .text("bij,bjk,k->bik")]),
    Sample("Einsum", [real(3, 3), real(3)], ["equation": .text("ii,j->ij")]),
    Sample("DFT", [real(2, 5, 2)], ["axis": .int(1)]), Sample("STFT", [real(1, 8, 1), try scalar(2), real(4)]),
    Sample("RNN", [real(3, 2, 2), real(2, 2, 2), real(2, 2, 2), real(2, 4)], ["direction": .text("bidirectional"), "hidden_size": .int(2)], outputs: 2),
    Sample("GRU", [real(3, 2, 2), real(1, 6, 2), real(1, 6, 2), real(1, 12), lengths], ["hidden_size": .int(2)], outputs: 2),
    Sample("GRU", [real(2, 2, 2), real(1, 6, 2), real(1, 6, 2), real(1, 12)], ["hidden_size": .int(2), "linear_before_reset": .int(1)], outputs: 2),
    Sample("LSTM", [real(3, 2, 2), real(1, 8, 2), real(1, 8, 2), real(1, 16), lengths, real(1, 2, 2), real(1, 2, 2), real(1, 6)],
      ["direction": .text("reverse"), "hidden_size": .int(2)], outputs: 3),
    Sample("Attention", [real(1, 2, 3, 4), real(1, 2, 3, 4), real(1, 2, 3, 4)], ["is_causal": .int(1), "softcap": .float(2)]),
    Sample("Attention", [real(1, 3, 8), real(1, 3, 4), real(1, 3, 4), real(3, 3)], ["q_num_heads": .int(4), "kv_num_heads": .int(2)]),
    Sample("RotaryEmbedding", [real(1, 2, 3, 4), real(3, 2), real(3, 2), try integers([0, 2, 1], [1, 3])]),
    Sample("DequantizeLinear", [.constant(try Tensor([1, -2, 3, 4] as [Int8], shape: [2, 2])), real(2, in: positive)], ["axis": .int(0)]),
    Sample("NegativeLogLikelihoodLoss", [real(2, 3, 2), try integers([0, 2, 1, 1], [2, 2]), real(3, in: positive)]),
    Sample("SoftmaxCrossEntropyLoss", [real(3, 4), try integers(0, 2, 1)], ["ignore_index": .int(1)], outputs: 2),
    Sample("NegativeLogLikelihoodLoss", [real(2, 3), try integers(0, 2)], ["reduction": .text("none")]),
  ]
}

func normalizationSamples() throws -> [Sample] {
  let image = real(2, 3, 4, 4)
  let pool: [String: Attribute] = ["kernel_shape": .ints([2, 3]), "strides": .ints([2, 1]), "pads": .ints([0, 1, 0, 1])]
  let axes = try integers(1)
  return [
    Sample("Softmax", [real(3, 4)]), Sample("LogSoftmax", [real(3, 4)], ["axis": .int(0)]), Sample("Softmax", opset: 11, [real(2, 2, 3)]),
    Sample("BatchNormalization", [image, real(3), real(3), real(3), real(3, in: positive)]),
    Sample("BatchNormalization", [image, real(3), real(3), real(3), real(3, in: positive)], ["training_mode": .int(1)], outputs: 3),
    Sample("InstanceNormalization", [real(2, 3, 4), real(3), real(3)]),
    Sample("LayerNormalization", [real(2, 5), real(5), real(5)], outputs: 3),
    Sample("GroupNormalization", [real(2, 4, 3), real(4), real(4)], ["num_groups": .int(2)]),
    Sample("RMSNormalization", [real(2, 5), real(5)]), Sample("MeanVarianceNormalization", [real(2, 3, 2, 2)]),
    Sample("LRN", [real(1, 4, 2)], ["size": .int(3), "alpha": .float(0.5)]),
    Sample("LpNormalization", [real(2, 4)]), Sample("LpNormalization", [real(2, 4)], ["p": .int(1)]),
    Sample("AveragePool", [image], pool, single: true), Sample("MaxPool", [image], pool, single: true, step: 1.0 / 512),
    Sample("LpPool", [real(1, 2, 4, 4, in: positive)], pool.merging(["p": .int(2)]) { $1 }, single: true, step: 1.0 / 64),
    Sample("MaxUnpool", [real(1, 1, 2, 2), try integers([5, 7, 13, 15], [1, 1, 2, 2])], ["kernel_shape": .ints([2, 2]), "strides": .ints([2, 2])]),
    Sample("GlobalAveragePool", [image]), Sample("GlobalMaxPool", [image]), Sample("GlobalLpPool", [real(2, 3, 4, in: positive)]),
    Sample("ReduceSum", [real(2, 3, 2), axes]), Sample("ReduceMean", [real(2, 3, 2), axes], ["keepdims": .int(0)]),
    Sample("ReduceMax", [real(2, 3, 2), axes]), Sample("ReduceMin", [real(2, 3, 2), axes]),
    Sample("ReduceProd", [real(2, 3, 2, in: positive), axes]), Sample("ReduceL1", [real(2, 3, 2), axes]),
    Sample("ReduceL2", [real(2, 3, 2), axes]), Sample("ReduceSumSquare", [real(2, 3, 2), axes]),
    Sample("ReduceLogSum", [real(2, 3, 2, in: positive), axes]), Sample("ReduceLogSumExp", [real(2, 3, 2), axes]),
  ]
}

func fusedSamples() throws -> [Sample] {
  let microsoft = "com.microsoft"
  return [
    Sample("Gelu", domain: microsoft, [real(2, 3)]), Sample("BiasGelu", domain: microsoft, [real(2, 3), real(3)]),
    Sample("FastGelu", domain: microsoft, [real(2, 3), real(3)]), Sample("QuickGelu", domain: microsoft, [real(2, 3)]),
    Sample("SkipLayerNormalization", domain: microsoft, [real(1, 2, 4), real(1, 2, 4), real(4), real(4), real(4)]),
    Sample("SkipSimplifiedLayerNormalization", domain: microsoft, [real(1, 2, 4), real(1, 2, 4), real(4)]),
    Sample("SimplifiedLayerNormalization", domain: microsoft, [real(2, 4), real(4)]),
    Sample("SimplifiedLayerNormalization", [real(2, 4), real(4)]),
    Sample("EmbedLayerNormalization", domain: microsoft,
      [try integers([1, 0], [1, 2]), .omitted, real(3, 4), real(2, 4), .omitted, real(4), real(4)]),
    Sample("FusedMatMul", domain: microsoft, [real(2, 4, 3), real(2, 4, 2)], ["transA": .int(1), "alpha": .float(0.5)]),
    Sample("FusedGemm", domain: microsoft, [real(2, 3), real(3, 2), real(2)], ["activation": .text("Tanh")]),
    Sample("FusedConv", domain: microsoft, [real(1, 2, 4, 4), real(2, 2, 3, 3), real(2)], single: true),
    Sample("MatMulNBits", domain: microsoft,
      [real(2, 20), .constant(try Tensor((0..<32).map { UInt8($0 * 7 % 256) }, shape: [2, 2, 8])), real(4, in: positive)],
      ["K": .int(20), "N": .int(2), "bits": .int(4), "block_size": .int(16)]),
    Sample("GatherBlockQuantized", domain: microsoft,
      [.constant(try Tensor((0..<60).map { UInt8($0 * 9 % 256) }, shape: [3, 20])), try integers(2, 0), real(3, 2, in: positive)],
      ["bits": .int(8), "block_size": .int(16), "quantize_axis": .int(1)]),
    Sample("RotaryEmbedding", domain: microsoft, [real(1, 3, 4), try integers([0, 2, 1], [1, 3]), real(3, 2), real(3, 2)]),
    Sample("Attention", domain: microsoft, [real(1, 3, 4), real(4, 12), real(12)], ["num_heads": .int(2), "unidirectional": .int(1)]),
    Sample("MultiHeadAttention", domain: microsoft, [real(1, 3, 4), real(1, 3, 4), real(1, 3, 4), real(12)], ["num_heads": .int(2)]),
  ]
}

func allSamples() throws -> [Sample] {
  try elementwiseSamples() + movementSamples() + linearSamples() + normalizationSamples() + fusedSamples()
}
