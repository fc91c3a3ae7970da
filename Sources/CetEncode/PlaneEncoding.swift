import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Writes quantized tensors as bit planes that standard operators unpack in the graph:
///
///     planes   uint8 [bits, m, 1]; bit i of byte (k, j) is bit k of code 8j + i
///     floors   ⌊planes · 2^−i⌋ for i = 0…7                        [bits, m, 8]
///     digits   floors · D, with D = I − 2·(subdiagonal): bit i is ⌊x/2^i⌋ − 2⌊x/2^(i+1)⌋
///     codes    (1, 2, 4, …) · digits                              [1, 8m]
///     weights  (codes − zero point) · scale, zero points in halves for 2 and 3 bits
///
/// Every value up to the codes is an integer below 256 or a power of two: exact in any arithmetic. The operators
/// are Cast, Mul, Floor, MatMul, Reshape, Slice and Sub as opset 7 has them, so no later model's opset is raised, and
/// all of it is constant: a runtime folds it when it loads the model.
struct PlaneEncoding: NodeEncoding {
  static let makesFilesSmaller = true
  /// Operators broadcast without attributes since.
  static let sufficientOpset = 7
  private(set) var initializers: [Initializer] = []
  var nodes: [Node] = []
  var minimumOpset: Int? { nodes.isEmpty ? nil : PlaneEncoding.sufficientOpset }
  let minimumIRVersion: Int64? = nil
  private let opset: Int
  var names: NameScope
  private var shared: [String: String] = [:]
  private var counter = 0

  static func zeroUnit(bits: Int) -> Int { bits <= 3 ? 2 : 1 }

  static func storedBytes(count: Int, gridCount: Int, bits: Int) -> (codes: Int, grids: Int) {
    (BitPacking.packedByteCount(count: count, bits: bits), 5 * gridCount)
  }

  static func notes(_ layers: [LinearLayer]) -> [String] { [] }

  init(opset: Int, names: NameScope) {
    self.opset = max(opset, PlaneEncoding.sufficientOpset)
    self.names = names
  }

  mutating func add(_ weight: WrittenWeight, making result: String) throws {
    let form = weight.form
    let layout = RowLayout(form)
    let bits = form.bits
    let bytes = (layout.paddedCount + 7) / 8
    let planes = try weight.filled(.uint8, [bits, bytes, 1]) { BitPacking.packPlanes(layout.padded($0.codes), bits: bits) }
    let packed = try add(planes, "\(form.name).cet.q")

    let ramp = try constant("r") { try Tensor((0..<8).map { Float(1) / Float(1 << $0) }, shape: [8]) }
    let digits = try constant("d") {
      var matrix = [Float](repeating: 0, count: 64)
      for i in 0..<8 {
        matrix[i * 8 + i] = 1
        if i > 0 { matrix[i * 8 + i - 1] = -2 }
      }
      return try Tensor(matrix, shape: [8, 8])
    }
    let powers = try constant("p\(bits)") { try Tensor((0..<bits).map { Float(1 << $0) }, shape: [1, bits]) }

    var value = node("Cast", [packed], ["to": .int(Int64(ElementType.float32.rawValue))])
    value = node("Mul", [value, ramp])
    value = node("Floor", [value])
    value = node("MatMul", [value, digits])
    value = node("Reshape", [value, try shape([bits, -1])])
    value = node("MatMul", [powers, value])
    if layout.paddedCount != 8 * bytes { value = try slice(value, axis: 1, to: layout.paddedCount) }
    value = node("Reshape", [value, try shape(layout.codeShape)])
    let zero = try add(weight.filled(.uint8, layout.gridShape, \.zeroPoints), "\(form.name).cet.zero")
    var level = node("Cast", [zero], ["to": .int(Int64(ElementType.float32.rawValue))])
    if form.zeroUnit == 2 { level = node("Mul", [level, try constant("h") { try Tensor(scalar: Float(0.5)) }]) }
    value = node("Sub", [value, level])
    let scale = try add(weight.filled(.float32, layout.gridShape, \.scales), "\(form.name).cet.scale")
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

  private mutating func add(_ tensor: Tensor, _ name: String) throws -> String {
    let name = names.takeValue(name)
    initializers.append(Initializer(name: name, tensor: tensor))
    return name
  }

  private mutating func node(_ type: String, _ inputs: [String], _ attributes: [String: Attribute] = [:]) -> String {
    counter += 1
    let output = names.takeValue("cet.\(counter)")
    nodes.append(Node(type, inputs: inputs, outputs: [output], attributes: attributes))
    return output
  }

  /// Keeps the first `count` indices of an axis. The bounds are attributes before opset 10, inputs since.
  private mutating func slice(_ value: String, axis: Int, to count: Int) throws -> String {
    if opset < 10 {
      return node(
        "Slice", [value], ["axes": .ints([Int64(axis)]), "starts": .ints([0]), "ends": .ints([Int64(count)])])
    }
    return node("Slice", [value, try shape([0]), try shape([count]), try shape([axis])])
  }

  /// An int64 list, one initializer for equal ones.
  private mutating func shape(_ sizes: [Int]) throws -> String {
    try constant("s" + sizes.map(String.init).joined(separator: "_")) {
      try Tensor(sizes.map(Int64.init), shape: [sizes.count])
    }
  }

  private mutating func constant(_ key: String, _ make: () throws -> Tensor) throws -> String {
    if let name = shared[key] { return name }
    let name = try add(make(), "cet.\(key)")
    shared[key] = name
    return name
  }
}
