import CetTensor

/// How a node changes when it passes a version of the default operator set that gave its operator another form.
struct OpsetStep: Sendable {
  /// The version in which the operator has the new form.
  let version: Int
  let convert: @Sendable (inout RisingNode) throws(CetError) -> Void

  init(_ version: Int, _ convert: @escaping @Sendable (inout RisingNode) throws(CetError) -> Void) {
    self.version = version
    self.convert = convert
  }

  /// By operator, versions ascending. An operator that is renamed goes on with the steps of its new name.
  static let all: [String: [OpsetStep]] = [
    "Add": broadcast,
    "And": broadcast,
    "BatchNormalization": [withoutTest, OpsetStep(9, withoutSpatial), OpsetStep(14, inferenceOutputs)],
    "Clip": [OpsetStep(11, clipBounds)],
    "DFT": [OpsetStep(20) { node throws(CetError) in node.setInput(2, try node.scalar("axis", node.takeInt("axis") ?? 1)) }],
    "Div": broadcast,
    "Dropout": [withoutTest, OpsetStep(10, droppedMask), OpsetStep(12, dropoutRatio)],
    "Equal": broadcast,
    "GRU": withoutSequence,
    "Gemm": [OpsetStep(7) { $0.node.attributes["broadcast"] = nil }],
    // The form stays, but onnxruntime (1.32) has no kernel of set 22.
    "GlobalLpPool": [OpsetStep(22, globalNorm)],
    "Greater": broadcast,
    "GridSample": [OpsetStep(20, gridSampleMode)],
    "GroupNormalization": [OpsetStep(21, scalesOfChannels)],
    "Hardmax": [OpsetStep(13, flattened)],
    "LSTM": withoutSequence,
    "Less": broadcast,
    "LogSoftmax": [OpsetStep(13, flattened)],
    "Mul": broadcast,
    "Or": broadcast,
    "PRelu": [OpsetStep(7, slopesOfChannels)],
    "Pad": [OpsetStep(11, padInputs)],
    "Pow": broadcast,
    "RNN": withoutSequence,
    "ReduceL1": axesInput(18),
    "ReduceL2": axesInput(18),
    "ReduceLogSum": axesInput(18),
    "ReduceLogSumExp": axesInput(18),
    "ReduceMax": axesInput(18),
    "ReduceMean": axesInput(18),
    "ReduceMin": axesInput(18),
    "ReduceProd": axesInput(18),
    "ReduceSum": axesInput(13),
    "ReduceSumSquare": axesInput(18),
    "Resize": [OpsetStep(11, resizeCoordinates), OpsetStep(13, resizeSizes)],
    "RoiAlign": [OpsetStep(16) { $0.set("coordinate_transformation_mode", "output_half_pixel") }],
    "Scan": [OpsetStep(9) { node throws(CetError) in throw node.refusal("its sequences have lengths") }],
    "Scatter": [OpsetStep(11) { $0.node.operatorType = "ScatterElements" }],
    "Slice": [OpsetStep(10, sliceInputs)],
    "Softmax": [OpsetStep(13, flattened)],
    "Split": [OpsetStep(13) { node throws(CetError) in try node.moveInts("split", toInput: 1) }, OpsetStep(18, outputCount)],
    "Squeeze": axesInput(13),
    "Sub": broadcast,
    // The form stays, but onnxruntime (1.32) knows it in models of set 24 alone.
    "Swish": [OpsetStep(25, swishInParts)],
    "TopK": [OpsetStep(10) { node throws(CetError) in node.setInput(1, try node.constant("k", [node.takeInt("k") ?? 0])) }],
    "Unsqueeze": axesInput(13),
    "Xor": broadcast,
    "Upsample": [
      OpsetStep(7) { node throws(CetError) in throw node.refusal("it has a height and a width scale") },
      OpsetStep(9, upsampleScales), OpsetStep(10, upsampleToResize),
    ],
  ]

  private static func axesInput(_ version: Int) -> [OpsetStep] {
    [OpsetStep(version) { node throws(CetError) in try node.moveInts("axes", toInput: 1) }]
  }

  // MARK: Broadcasting

  /// Before 7 the second operand was repeated as `broadcast` said, its axes beginning at `axis`; since, axes are counted
  /// from the last.
  private static let broadcast = [OpsetStep(7) { call throws(CetError) in
    let broadcasts = try call.takeInt("broadcast") ?? 0 != 0
    guard let axis = try call.takeInt("axis"), broadcasts else { return }
    guard let rank = call.raise.rank(call.input(0)), let other = call.raise.rank(call.input(1)) else {
      throw call.refusal("the ranks of its operands are not in the file")
    }
    guard axis >= -rank, axis <= rank else { throw call.refusal("axis \(axis) is outside rank \(rank)") }
    try call.appendAxes(Int64(rank - other) - (axis < 0 ? axis + Int64(rank) : axis), toInput: 1, rank: other)
  }]

  /// Before 7 a list of slopes went with the channels, which are axis 1.
  private static func slopesOfChannels(_ call: inout RisingNode) throws(CetError) {
    if let slope = call.raise.constant(call.input(1)), slope.count == 1 { return }
    guard let rank = call.raise.rank(call.input(0)), let other = call.raise.rank(call.input(1)) else {
      throw call.refusal("the ranks of its operands are not in the file")
    }
    if other == 1 { try call.appendAxes(Int64(rank) - 2, toInput: 1, rank: other) }
  }

  /// Before 7 it told training from its contrary, which since the outputs and inputs do.
  private static let withoutTest = OpsetStep(7) { $0.node.attributes["is_test"] = nil }

  private static let withoutSequence = [OpsetStep(7) { $0.node.attributes["output_sequence"] = nil }]

  // MARK: Normalization

  private static func withoutSpatial(_ call: inout RisingNode) throws(CetError) {
    guard try call.takeInt("spatial") ?? 1 != 0 else { throw call.refusal("spatial is 0") }
  }

  /// Before 14 further outputs meant training.
  private static func inferenceOutputs(_ call: inout RisingNode) throws(CetError) {
    guard call.node.outputs.dropFirst().allSatisfy(\.isEmpty) else { throw call.refusal("it has outputs of training") }
    call.node.outputs = Array(call.node.outputs.prefix(1))
  }

  /// The mask had the type of the data before 10, and is bool since.
  private static func droppedMask(_ call: inout RisingNode) throws(CetError) {
    guard !call.node.outputs.dropFirst().contains(where: call.raise.isRead) else { throw call.refusal("its mask is read") }
    call.node.outputs = Array(call.node.outputs.prefix(1))
  }

  private static func dropoutRatio(_ call: inout RisingNode) throws(CetError) {
    if let ratio = try call.takeFloat("ratio") { call.setInput(1, try call.scalar("ratio", ratio)) }
  }

  /// One scale and bias for each channel instead of each group.
  private static func scalesOfChannels(_ call: inout RisingNode) throws(CetError) {
    let groups = try call.constant("groups", [call.int("num_groups") ?? 1])
    let channels = call.prepend("Shape", [call.input(0)], "channels", ["start": .int(1), "end": .int(2)])
    let members = call.prepend("Div", [channels, groups], "members")
    let wide = call.prepend("Concat", [groups, members], "wide", ["axis": .int(0)])
    let column = try call.constant("column", [-1, 1] as [Int64])
    let line = try call.constant("line", [-1] as [Int64])
    for (index, role) in [(1, "scale"), (2, "bias")] {
      let tall = call.prepend("Reshape", [call.input(index), column], role + ".column")
      let spread = call.prepend("Expand", [tall, wide], role + ".wide")
      call.setInput(index, call.prepend("Reshape", [spread, line], role))
    }
  }

  /// The norm of each channel's elements in a row; positions of size 1 stand in place of theirs.
  private static func globalNorm(_ call: inout RisingNode) throws(CetError) {
    let p = try call.takeInt("p") ?? 2
    guard p == 1 || p == 2 else { throw call.refusal("onnxruntime has none of p \(p)") }
    let (x, y) = (call.input(0), call.node.firstOutput)
    let channels = call.prepend("Shape", [x], "channels", ["start": .int(0), "end": .int(2)])
    let positions = call.prepend("Shape", [call.prepend("Shape", [x], "spatial", ["start": .int(2)])], "positions")
    let one = Initializer(name: "", tensor: try Tensor([1] as [Int64], shape: [1]))
    let ones = call.prepend("ConstantOfShape", [positions], "ones", ["value": .tensor(one)])
    let shape = call.prepend("Concat", [channels, ones], "shape", ["axis": .int(0)])
    let rows = call.prepend("Reshape", [x, try call.constant("row", [0, 0, -1] as [Int64])], "rows")
    call.node.operatorType = p == 1 ? "ReduceL1" : "ReduceL2"
    call.node.inputs = [rows, try call.constant("axis", [2] as [Int64])]
    call.node.outputs = [call.value("norms")]
    call.append("Reshape", [call.node.firstOutput, shape], makes: y)
  }

  /// x · σ(αx)
  private static func swishInParts(_ call: inout RisingNode) throws(CetError) {
    let x = call.input(0)
    let alpha = try call.takeFloat("alpha") ?? 1
    let scaled = alpha == 1 ? x : call.prepend("Mul", [x, try call.likeFirstInput("alpha", alpha)], "scaled")
    call.node.operatorType = "Mul"
    call.node.inputs = [x, call.prepend("Sigmoid", [scaled], "gate")]
  }

  // MARK: Softmax and its kin

  /// Before 13 they worked on the matrix that the axes before `axis` and those from it on make; since, along one axis.
  private static func flattened(_ call: inout RisingNode) throws(CetError) {
    let axis = try call.int("axis") ?? 1
    call.node.attributes["axis"] = .int(-1)
    let (x, y) = (call.input(0), call.node.firstOutput)
    if axis == -1 { return }
    if let rank = call.raise.rank(x) ?? call.raise.rank(y), axis == rank - 1 { return }
    let shape = call.prepend("Shape", [x], "shape")
    call.setInput(0, call.prepend("Flatten", [x], "matrix", ["axis": .int(axis)]))
    let result = call.value("rows")
    call.node.outputs = [result]
    call.append("Reshape", [result, shape], makes: y)
  }

  // MARK: Attributes that became inputs

  private static func clipBounds(_ call: inout RisingNode) throws(CetError) {
    if let low = try call.takeFloat("min") { call.setInput(1, try call.likeFirstInput("min", low)) }
    if let high = try call.takeFloat("max") { call.setInput(2, try call.likeFirstInput("max", high)) }
  }

  private static func padInputs(_ call: inout RisingNode) throws(CetError) {
    call.setInput(1, try call.constant("pads", call.takeInts("pads") ?? []))
    if let value = try call.takeFloat("value"), value != 0 { call.setInput(2, try call.likeFirstInput("value", value)) }
  }

  private static func sliceInputs(_ call: inout RisingNode) throws(CetError) {
    try call.moveInts("starts", toInput: 1)
    try call.moveInts("ends", toInput: 2)
    try call.moveInts("axes", toInput: 3)
  }

  private static func outputCount(_ call: inout RisingNode) throws(CetError) {
    if call.input(1).isEmpty { call.node.attributes["num_outputs"] = .int(Int64(call.node.outputs.count)) }
  }

  // MARK: Resampling

  private static func gridSampleMode(_ call: inout RisingNode) throws(CetError) {
    let mode = try call.string("mode") ?? "bilinear"
    call.set("mode", ["bilinear": "linear", "bicubic": "cubic"][mode] ?? mode)
  }

  private static func upsampleScales(_ call: inout RisingNode) throws(CetError) {
    call.setInput(1, try call.constant("scales", call.takeFloats("scales") ?? []))
  }

  /// Upsample only enlarges, which Resize of 10 leaves open: its form of 11 comes at once where it may.
  private static func upsampleToResize(_ call: inout RisingNode) throws(CetError) {
    call.node.operatorType = "Resize"
    if call.raise.target >= 11 { setAsymmetric(&call) }
  }

  private static func setAsymmetric(_ call: inout RisingNode) {
    call.set("coordinate_transformation_mode", "asymmetric")
    call.set("nearest_mode", "floor")
    call.setInput(2, call.input(1))
    call.setInput(1, "")
  }

  private static func resizeCoordinates(_ call: inout RisingNode) throws(CetError) {
    guard call.node.attributes["coordinate_transformation_mode"] == nil else { return }
    if try call.string("mode") ?? "nearest" == "nearest" {
      // How a smaller picture takes the nearest pixel, operator set 10 does not say, and runtimes differ.
      guard let scales = call.raise.constant(call.input(1)), scales.type == .float32,
        try scales.array(as: Float.self).allSatisfy({ $0 >= 1 })
      else { throw call.refusal("which pixel is nearest is not said for scales that are below 1 or not constant") }
    }
    setAsymmetric(&call)
  }

  /// Since 13 either scales or sizes are given; before, scales without numbers stood beside sizes.
  private static func resizeSizes(_ call: inout RisingNode) throws(CetError) {
    guard try call.string("coordinate_transformation_mode") != "tf_half_pixel_for_nn" else {
      throw call.refusal("tf_half_pixel_for_nn is gone")
    }
    if !call.input(3).isEmpty { call.setInput(2, "") }
  }
}
