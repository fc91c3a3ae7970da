import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Writes quantized tensors as codes side by side in bytes that standard operators unpack in the graph, in whole numbers of 32 bits
/// (`PackedRuns`):
///
///     runs     uint8 [m, B]: B bytes hold the least number of codes that fills them
///     numbers  Σ runs · 256^(B−1…0), one a run or several, each of some of the bytes
///     codes    numbers / 2^(…, 2 · bits, bits, 0) mod 2^bits
///     weights  (codes − zero point) · scale, zero points in halves for 2 and 3 bits
///
/// and of trellis codes of k bits, L state bits, with the rows first:
///
///     runs     uint8 [rows, m, B], each with the last bytes of the one before it, zeros in front of the first
///     states   numbers / 2^(…, 2k, k, 0) mod 2^L: of all codes up to one the last L bits
///     weights  Gather(T, states) · scale; where rows have one scale each, runs of 64 or fewer of them under the Hadamard matrix
///
/// Small tensors of one form but for the length of their axis are decoded as one and split: nodes are most of what they cost
/// beside their codes.
///
/// No step makes more than three and a half numbers a weight, because runtimes hold them while they load a file. The operators are Cast, Mul, Div,
/// Reshape, ReduceSum, Slice, Concat, Pad, Sub, MatMul, Gather and Split as opset 7 has them, and Mod from opset 10 on, so no later model's
/// opset is raised, and all of it is constant: onnxruntime and OpenVINO fold it when they load the model. Convolutions OpenVINO does not fold.
struct PlaneEncoding: NodeEncoding {
  static let makesFilesSmaller = true
  /// Operators broadcast without attributes since.
  static let sufficientOpset = 7
  static let carriesTrellis = true
  private(set) var initializers: [Initializer] = []
  var nodes: [Node] = []
  var minimumOpset: Int? { nodes.isEmpty ? nil : PlaneEncoding.sufficientOpset }
  let minimumIRVersion: Int64? = nil
  private let opset: Int
  var names: NameScope
  private var shared: [String: String] = [:]
  private var counter = 0

  static func zeroUnit(bits: Int) -> Int { bits <= 3 ? 2 : 1 }

  static func storedBytes(rows: Int, columns: Int, blocks: Int, _ format: CodeFormat) -> (codes: Int, grids: Int) {
    guard case .trellis(let code) = format.coding else {
      let grid = format.coding.hasZeroPoints ? 5 : 4
      return (BitPacking.packedByteCount(count: rows * columns, bits: format.bits), .saturatingProduct(grid, rows, blocks))
    }
    let runs = PackedRuns(bits: format.bits, stateBits: code.stateBits)
    return (.saturatingProduct(rows, runs.count(of: columns), runs.bytes), .saturatingProduct(4, rows, blocks))
  }

  static let fillsBlocks = true

  static func notes(_ layers: [LinearLayer]) -> [String] { [] }

  init(opset: Int, names: NameScope, runtime: Runtime?) {
    self.opset = max(opset, PlaneEncoding.sufficientOpset)
    self.names = names
  }

  /// Weights that are decoded together at most: what is in memory at a time while a runtime loads the file grows with them.
  private static let mostTogether = 1 << 20

  static func groups(_ weights: [WrittenWeight]) -> [[Int]] {
    var groups: [(members: [Int], count: Int)] = []
    var open: [Alike: Int] = [:]
    for (index, weight) in weights.enumerated() {
      let count = weight.form.count
      if let kind = Alike(weight), let group = open[kind], groups[group].count + count <= mostTogether {
        groups[group].members.append(index)
        groups[group].count += count
      } else {
        if let kind = Alike(weight), count > 0 { open[kind] = groups.count }
        groups.append(([index], count))
      }
    }
    return groups.map(\.members)
  }

  /// What tensors that are decoded together have in common.
  private struct Alike: Hashable {
    let others: [Int]
    let axis: Int
    let format: CodeFormat
    let blockSize: Int

    init?(_ weight: WrittenWeight) {
      guard let axis = weight.form.axis else { return nil }
      others = weight.form.shape.indices.filter { $0 != axis }.map { weight.form.shape[$0] }
      self.axis = axis
      format = weight.form.format
      blockSize = weight.form.blockSize
    }
  }

  mutating func add(_ weights: [WrittenWeight], making results: [String]) throws(CetError) {
    guard weights.count > 1, let axis = weights[0].form.axis else {
      for (weight, result) in zip(weights, results) { try add(weight, making: result) }
      return
    }
    counter += 1
    let joined = names.takeValue("cet.w\(counter)")
    try add(WrittenWeight.joined(weights, name: joined), making: joined)
    let lengths = weights.map { $0.form.shape[axis] }
    var (inputs, attributes) = ([joined], ["axis": Attribute.int(Int64(axis))])
    // The lengths are an attribute before opset 13, an input since.
    if opset < 13 { attributes["split"] = .ints(lengths.map(Int64.init)) } else { inputs.append(try shape(lengths)) }
    nodes.append(Node("Split", inputs: inputs, outputs: results, attributes: attributes))
  }

  private mutating func add(_ weight: WrittenWeight, making result: String) throws(CetError) {
    let form = weight.form
    if let code = form.coding.trellis { return try addTrellis(weight, code, making: result) }
    let layout = RowLayout(form)
    // Rows in front are left open, so that tensors of other rows share the constant.
    let isOpen = form.axis == 0 && layout.paddedCount > 0
    let codeShape = isOpen ? [-1] + layout.codeShape.dropFirst() : layout.codeShape
    var value = try codes(weight, count: layout.paddedCount, shape: codeShape) { layout.padded($0) }
    value = node("Sub", [value, try zeroLevel(weight, layout)])
    let scale = try add(weight.filled(.float32, layout.gridShape, \.scales), PlaneEncoding.name(form, "scale"))
    guard layout.needsReordering else {
      nodes.append(Node("Mul", inputs: [value, scale], outputs: [result]))
      return
    }
    value = node("Mul", [value, scale])
    if layout.paddedColumns != layout.columns {
      value = node("Reshape", [value, try shape([layout.rows, layout.paddedColumns])])
      value = try slice(value, [(1, 0, layout.columns)])
    }
    if layout.transposition.isEmpty {
      nodes.append(Node("Reshape", inputs: [value, try shape(form.shape)], outputs: [result]))
    } else {
      value = node("Reshape", [value, try shape(layout.rowsFirstShape)])
      nodes.append(
        Node("Transpose", inputs: [value], outputs: [result], attributes: ["perm": .ints(layout.transposition.map(Int64.init))]))
    }
  }

  /// The zero points in codes.
  private mutating func zeroLevel(_ weight: WrittenWeight, _ layout: RowLayout) throws(CetError) -> String {
    let form = weight.form
    guard form.coding.hasZeroPoints else { return try constant("z\(form.middle)", Tensor(scalar: Float(form.middle))) }
    let zero = try add(weight.filled(.uint8, layout.gridShape, \.zeroPoints), PlaneEncoding.name(form, "zero"))
    let level = node("Cast", [zero], ["to": .int(Int64(ElementType.float32.rawValue))])
    return form.zeroUnit == 2 ? node("Mul", [level, try constant("h", Tensor(scalar: Float(0.5)))]) : level
  }

  /// Rows of steps become levels and, where the walk is not straight, columns in their own order.
  private mutating func addTrellis(_ weight: WrittenWeight, _ code: TrellisCode, making result: String) throws(CetError) {
    let form = weight.form
    let (order, walk) = (form.order, form.walk)
    let (columns, axis) = (order.columns, form.axis ?? 0)
    var value = try states(weight, code, columns: columns) {
      walk.steps(order.paddedRows($0, width: columns), columns: columns)
    }
    value = node("Gather", [try table(code), value])
    let scale = try scales(weight, walk)
    value = node("Mul", [value, scale])
    value = try rotated(value, walk.rotation)
    // Axes as they stand in the rows of steps, and where each of the tensor's is found among them.
    let others = form.shape.indices.filter { $0 != axis }
    let source = [axis] + others.dropFirst() + others.prefix(1)
    let permutation = form.shape.indices.map { index in source.firstIndex(of: index) ?? index }
    guard permutation != Array(form.shape.indices) else {
      nodes.append(Node("Reshape", inputs: [value, try shape([-1] + form.shape.dropFirst())], outputs: [result]))
      return
    }
    value = node("Reshape", [value, try shape([-1] + source.dropFirst().map { form.shape[$0] })])
    nodes.append(
      Node("Transpose", inputs: [value], outputs: [result], attributes: ["perm": .ints(permutation.map(Int64.init))]))
  }

  /// Every run of so many values under the Hadamard matrix of its length, which is the Kronecker product of two small ones.
  private mutating func rotated(_ value: String, _ run: Int) throws(CetError) -> String {
    guard run > 1 else { return value }
    let inner = run <= 4 ? run : 1 << ((run.trailingZeroBitCount + 1) / 2)
    let outer = run / inner
    var value = node("Reshape", [value, try shape(outer > 1 ? [-1, outer, inner] : [-1, inner])])
    value = node("MatMul", [value, try hadamard(inner)])
    return outer > 1 ? node("MatMul", [try hadamard(outer), value]) : value
  }

  /// H / √n, [n, n].
  private mutating func hadamard(_ n: Int) throws(CetError) -> String {
    let size = 1 / Float(n).squareRoot()
    let entries = (0..<n * n).map { ($0 / n & $0 % n).nonzeroBitCount % 2 == 0 ? size : -size }
    return try constant("h\(n)", Tensor(entries, shape: [n, n]))
  }

  /// Scales [rows, 1, 1], or with blocks those of every step [rows, 1, K].
  private mutating func scales(_ weight: WrittenWeight, _ walk: TrellisWalk) throws(CetError) -> String {
    let form = weight.form
    let (rows, columns, blocks) = (form.order.rows, form.order.columns, form.blocksPerRow)
    var value = try add(weight.filled(.float32, [rows, 1, blocks], \.scales), PlaneEncoding.name(form, "scale"))
    guard form.blockSize > 0 else { return value }
    // Each scale is repeated along its block; then columns become steps.
    let ones = try constant(
      "o\(form.blockSize)", Tensor([Float](repeating: 1, count: form.blockSize), shape: [1, 1, form.blockSize]))
    value = node("Reshape", [value, try shape([rows, blocks, 1])])
    value = node("Mul", [value, ones])
    value = node("Reshape", [value, try shape([rows, 1, form.blockSize * blocks])])
    if form.blockSize * blocks != columns { value = try slice(value, [(2, 0, columns)]) }
    guard let (channels, positions) = walk.detour(columns) else { return value }
    value = node("Reshape", [value, try shape([rows, channels, positions])])
    value = node("Transpose", [value], ["perm": .ints([0, 2, 1])])
    return node("Reshape", [value, try shape([rows, 1, columns])])
  }

  /// Codes as floats in a shape.
  /// - Parameter arranged: codes in C order of the tensor as they are written, `count` of them.
  private mutating func codes(
    _ weight: WrittenWeight, count: Int, shape codeShape: [Int], _ arranged: ([UInt8]) -> [UInt8]
  ) throws(CetError) -> String {
    let runs = PackedRuns(bits: weight.form.bits)
    let packed = try weight.filled(.uint8, [runs.count(of: count)] + runs.shape) { runs.packed(arranged($0.codes), columns: count) }
    var value = try add(packed, PlaneEncoding.name(weight.form, "q"))
    if runs.codes > 1 { value = try windows(of: node("Cast", [value], PlaneEncoding.whole), runs, axis: packed.rank - 1) }
    value = node("Cast", [value], ["to": .int(Int64(ElementType.float32.rawValue))])
    if count % runs.codes != 0 { value = try slice(node("Reshape", [value, try shape([-1])]), [(0, 0, count)]) }
    return node("Reshape", [value, try shape(codeShape)])
  }

  private static let whole = ["to": Attribute.int(Int64(ElementType.int32.rawValue))]

  /// Trellis states [rows, 1, columns].
  /// - Parameter arranged: rows of steps of the codes as they are written.
  private mutating func states(
    _ weight: WrittenWeight, _ code: TrellisCode, columns: Int, _ arranged: ([UInt8]) -> [UInt8]
  ) throws(CetError) -> String {
    let runs = PackedRuns(bits: weight.form.bits, stateBits: code.stateBits, columns: columns)
    let packed = try weight.filled(.uint8, [weight.form.order.rows, runs.count(of: columns)] + runs.shape) {
      runs.packed(arranged($0.codes), columns: columns)
    }
    var value = try add(packed, PlaneEncoding.name(weight.form, "q"))
    let last = packed.rank - 1
    if runs.reach > runs.bytes {
      // onnxruntime pads floats alone before opset 11.
      let type = opset < 11 ? ["to": Attribute.int(Int64(ElementType.float32.rawValue))] : PlaneEncoding.whole
      value = node("Cast", [value], type)
      value = node("Concat", [try before(value, runs, axis: last), value], ["axis": .int(Int64(last))])
      if opset < 11 { value = node("Cast", [value], PlaneEncoding.whole) }
    } else {
      value = node("Cast", [value], PlaneEncoding.whole)
    }
    value = try windows(of: value, runs, axis: last)
    let width = runs.count(of: columns) * runs.codes
    // The number of rows is left open, so that tensors of other rows share the constants.
    value = node("Reshape", [value, try shape([-1, 1, width])])
    return width == columns ? value : try slice(value, [(2, 0, columns)])
  }

  /// What is taken out of runs of bytes, which lie along `axis`, the last.
  private mutating func windows(of bytes: String, _ runs: PackedRuns, axis: Int) throws(CetError) -> String {
    let key = "\(runs.bits)_\(runs.window)"
    var value = bytes
    if runs.reach > 1 {
      value = node("Mul", [value, try constant("f\(key)_\(runs.reach)", Tensor(runs.places, shape: [runs.parts, runs.reach]))])
      value = try sum(value, axis: axis)
    }
    value = node("Div", [value, try constant("d\(key)", Tensor(runs.divisors, shape: [runs.parts, runs.codesOfPart]))])
    let size = try constant("m\(runs.window)", Tensor(scalar: Int32(1) << Int32(runs.window)))
    // Mod takes whole numbers since opset 10.
    guard opset < 10 else { return node("Mod", [value, size]) }
    return node("Sub", [value, node("Mul", [node("Div", [value, size]), size])])
  }

  /// The last bytes of the run before each, along axis 1, zeros before the first. What is added by Pad is an attribute before opset 11, an
  /// input since. (Pad could take away as well, but onnxruntime 1.20 and onnx's reference do not do so everywhere.)
  private mutating func before(_ value: String, _ runs: PackedRuns, axis: Int) throws(CetError) -> String {
    let pads = (0..<2 * (axis + 1)).map { $0 == 1 ? 1 : 0 }
    let padded =
      opset < 11
      ? node("Pad", [value], ["pads": .ints(pads.map(Int64.init))])
      : node("Pad", [value, try shape(pads)])
    return try slice(padded, [(1, 0, -1), (axis, runs.bytes - runs.history, runs.bytes)])
  }

  /// The axis is an attribute before opset 13, an input since.
  private mutating func sum(_ value: String, axis: Int) throws(CetError) -> String {
    guard opset >= 13 else { return node("ReduceSum", [value], ["axes": .ints([Int64(axis)])]) }
    return node("ReduceSum", [value, try shape([axis])])
  }

  /// T as float32, widened once.
  private mutating func table(_ code: TrellisCode) throws(CetError) -> String {
    let key = "t\(code.stateBits)"
    if let name = shared["wide \(key)"] { return name }
    let narrow = try constant(
      key, Conversion.convert(Tensor(code.table, shape: [code.table.count]), to: .float16, ComputeContext()))
    let name = node("Cast", [narrow], ["to": .int(Int64(ElementType.float32.rawValue))])
    shared["wide \(key)"] = name
    return name
  }

  /// Of a part of a tensor; joined tensors have names of this library already.
  private static func name(_ form: QuantizedForm, _ part: String) -> String {
    form.name.hasPrefix("cet.") ? "\(form.name).\(part)" : "\(form.name).cet.\(part)"
  }

  private mutating func add(_ tensor: Tensor, _ name: String) throws(CetError) -> String {
    let name = names.takeValue(name)
    initializers.append(Initializer(name: name, tensor: tensor))
    return name
  }

  private mutating func node(_ type: String, _ inputs: [String], _ attributes: [String: Attribute] = [:]) -> String {
    counter += 1
    let output = names.takeValue("cet\(counter)")
    nodes.append(Node(type, inputs: inputs, outputs: [output], attributes: attributes))
    return output
  }

  /// Keeps indices of some axes, from a first to before an end. They are attributes before opset 10, inputs since.
  private mutating func slice(_ value: String, _ ranges: [(axis: Int, start: Int, end: Int)]) throws(CetError) -> String {
    let (axes, starts, ends) = (ranges.map(\.axis), ranges.map(\.start), ranges.map(\.end))
    if opset < 10 {
      func list(_ values: [Int]) -> Attribute { .ints(values.map(Int64.init)) }
      return node("Slice", [value], ["axes": list(axes), "starts": list(starts), "ends": list(ends)])
    }
    return node("Slice", [value, try shape(starts), try shape(ends), try shape(axes)])
  }

  /// An int64 list, one initializer for equal ones.
  private mutating func shape(_ sizes: [Int]) throws(CetError) -> String {
    try constant(
      "s" + sizes.map(String.init).joined(separator: "_"), Tensor(sizes.map(Int64.init), shape: [sizes.count]))
  }

  private mutating func constant(_ key: String, _ make: @autoclosure () throws(CetError) -> Tensor) throws(CetError) -> String {
    if let name = shared[key] { return name }
    // Names are short: in a small file they are a part of its size that shows.
    let name = try add(make(), "cet.\(shared.count)")
    shared[key] = name
    return name
  }
}
