import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Writes quantized tensors as bit planes that standard operators unpack in the graph:
///
///     planes   uint8 [bits, m, 1]; bit i of byte (k, j) is bit k of code 8j + i
///     floors   ⌊planes · 2^−i⌋ for i = 0…7                        [bits, m, 8]
///     digits   floors mod 2
///     codes    (1, 2, 4, …) · digits                              [1, 8m]
///     weights  (codes − zero point) · scale, zero points in halves for 2 and 3 bits
///
/// and of trellis codes of k bits, L state bits, with the rows first:
///
///     states   codes [rows, 1, K] under Conv with the kernel (…, 2^2k, 2^k, 1) of ⌈L/k⌉ codes, mod 2^L
///     weights  Gather(T, states) · scale; where rows have one scale each, runs of 64 or fewer of them under the Hadamard matrix
///
/// Small tensors of one form but for the length of their axis are decoded as one and split: nodes are most of what they cost
/// beside their codes.
///
/// Every value up to the codes is an integer below 256 or a power of two, and states are integers below 2^24: exact in any
/// arithmetic. The operators are Cast, Mul, Floor, MatMul, Flatten, Reshape, Slice, Sub, Conv, Gather and Split as opset 7
/// has them, and Mod from opset 10 on, so no later model's opset is raised, and all of it is constant: a runtime folds it when
/// it loads the model.
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
    (BitPacking.packedByteCount(count: rows * columns, bits: format.bits), (format.coding.isTrellis ? 4 : 5) * rows * blocks)
  }

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
    let zero = try add(weight.filled(.uint8, layout.gridShape, \.zeroPoints), PlaneEncoding.name(form, "zero"))
    var level = node("Cast", [zero], ["to": .int(Int64(ElementType.float32.rawValue))])
    if form.zeroUnit == 2 { level = node("Mul", [level, try constant("h", Tensor(scalar: Float(0.5)))]) }
    value = node("Sub", [value, level])
    let scale = try add(weight.filled(.float32, layout.gridShape, \.scales), PlaneEncoding.name(form, "scale"))
    guard layout.needsReordering else {
      nodes.append(Node("Mul", inputs: [value, scale], outputs: [result]))
      return
    }
    value = node("Mul", [value, scale])
    if layout.paddedColumns != layout.columns {
      value = node("Reshape", [value, try shape([layout.rows, layout.paddedColumns])])
      value = try slice(value, axis: 1, to: layout.columns)
    }
    if layout.transposition.isEmpty {
      nodes.append(Node("Reshape", inputs: [value, try shape(form.shape)], outputs: [result]))
    } else {
      value = node("Reshape", [value, try shape(layout.rowsFirstShape)])
      nodes.append(
        Node("Transpose", inputs: [value], outputs: [result], attributes: ["perm": .ints(layout.transposition.map(Int64.init))]))
    }
  }

  /// Rows of steps become levels and, where the walk is not straight, columns in their own order.
  private mutating func addTrellis(_ weight: WrittenWeight, _ code: TrellisCode, making result: String) throws(CetError) {
    let form = weight.form
    let (order, walk) = (form.order, form.walk)
    let (rows, columns, axis) = (order.rows, order.columns, form.axis ?? 0)
    // The number of rows is left open, so that tensors of other rows share the constants.
    var value = try codes(weight, count: rows * columns, shape: [-1, 1, columns]) {
      walk.steps(order.paddedRows($0, width: columns), columns: columns)
    }
    value = try levels(value, code, bits: form.bits)
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
    if form.blockSize * blocks != columns { value = try slice(value, axis: 2, to: columns) }
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
    let bits = weight.form.bits
    let bytes = (count + 7) / 8
    let planes = try weight.filled(.uint8, [bits, bytes, 1]) { BitPacking.packPlanes(arranged($0.codes), bits: bits) }
    let packed = try add(planes, PlaneEncoding.name(weight.form, "q"))

    let ramp = try constant("r", Tensor((0..<8).map { Float(1) / Float(1 << $0) }, shape: [8]))

    var value = node("Cast", [packed], ["to": .int(Int64(ElementType.float32.rawValue))])
    value = node("Mul", [value, ramp])
    value = node("Floor", [value])
    value = try remainder(value, 2)
    value = node("Flatten", [value])
    if bits > 1 {
      let powers = try constant("p\(bits)", Tensor((0..<bits).map { Float(1 << $0) }, shape: [1, bits]))
      value = node("MatMul", [powers, value])
    }
    if count != 8 * bytes { value = try slice(value, axis: 1, to: count) }
    return node("Reshape", [value, try shape(codeShape)])
  }

  /// Whole numbers modulo a power of two: exact. Mod takes floats since opset 10.
  private mutating func remainder(_ value: String, _ divisor: Int) throws(CetError) -> String {
    let whole = try constant("m\(divisor)", Tensor(scalar: Float(divisor)))
    guard opset < 10 else { return node("Mod", [value, whole], ["fmod": .int(1)]) }
    let inverse = try constant("n\(divisor)", Tensor(scalar: 1 / Float(divisor)))
    let turns = node("Floor", [node("Mul", [value, inverse])])
    return node("Sub", [value, node("Mul", [turns, whole])])
  }

  /// T along rows of trellis codes [rows, 1, K].
  private mutating func levels(_ codes: String, _ code: TrellisCode, bits: Int) throws(CetError) -> String {
    let (length, states) = ((code.stateBits + bits - 1) / bits, 1 << code.stateBits)
    let kernel = try constant(
      "k\(code.stateBits)_\(bits)", Tensor((0..<length).map { Float(1 << (bits * (length - 1 - $0))) }, shape: [1, 1, length]))
    var state = node("Conv", [codes, kernel], ["pads": .ints([Int64(length - 1), 0])])
    if length * bits > code.stateBits { state = try remainder(state, states) }
    state = node("Cast", [state], ["to": .int(Int64(ElementType.int32.rawValue))])
    return node("Gather", [try table(code), state])
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

  /// Keeps the first `count` indices of an axis. The bounds are attributes before opset 10, inputs since.
  private mutating func slice(_ value: String, axis: Int, to count: Int) throws(CetError) -> String {
    if opset < 10 {
      return node(
        "Slice", [value], ["axes": .ints([Int64(axis)]), "starts": .ints([0]), "ends": .ints([Int64(count)])])
    }
    return node("Slice", [value, try shape([0]), try shape([count]), try shape([axis])])
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
