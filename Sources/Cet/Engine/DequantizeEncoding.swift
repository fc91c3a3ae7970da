import CetGraph
import CetQuantize
import CetTensor

/// Writes quantized tensors as codes of ONNX's integer types under DequantizeLinear, one node for each tensor where its
/// grid allows: w = (codes − zero point) · scale.
///
/// Zero points of ONNX are whole numbers of codes. Where they count in halves, 2 · code, the zero point and scale / 2 say
/// the same one type wider. Blocks lie along one axis of DequantizeLinear, those of a `QuantizedTensor` along all axes
/// but its own: tensors of more than two axes are stored as matrices and get their shape from Reshape.
struct DequantizeEncoding {
  private(set) var initializers: [Initializer] = []
  private(set) var nodes: [Node] = []
  /// The lowest versions that the tensors so far need; nil: any.
  private(set) var minimumOpset: Int?
  private(set) var minimumIRVersion: Int64?
  private var names: NameScope
  private var shapes: [[Int]: String] = [:]

  /// - Parameter names: what is taken in the model that the tensors are written into.
  init(names: NameScope) { self.names = names }

  /// The type that holds codes of this width; there is none of 3 bits.
  static func storage(bits: Int, zeroUnit: Int) -> ElementType {
    // Doubled codes take a bit more.
    switch bits + zeroUnit - 1 {
    case ...2: .uint2
    case ...4: .uint4
    default: .uint8
    }
  }

  /// Bytes of `count` codes and of the scales and zero points of `gridCount` grids.
  static func storedBytes(count: Int, gridCount: Int, bits: Int, zeroUnit: Int) -> (codes: Int, grids: Int) {
    let width = storage(bits: bits, zeroUnit: zeroUnit).bitWidth
    func packed(_ count: Int) -> Int { BitPacking.packedByteCount(count: count, bits: width) }
    return (packed(count), 4 * gridCount + packed(gridCount))
  }

  /// Adds what makes the value `tensor.name` from its codes: float32, or a 16-bit float.
  /// - Parameter isMoved: whether something else than a layer reads it, such as Transpose. ONNX Runtime moves that before
  ///   DequantizeLinear and fails to fold it for UINT2, except where scales are in blocks: one block a row, then.
  mutating func add(_ tensor: QuantizedTensor, as type: ElementType, isMoved: Bool = false) throws {
    let name = type == .float32 ? tensor.name : names.takeValue("\(tensor.name).cet.wide")
    try add(tensor, making: name, isMoved: isMoved)
    if name != tensor.name {
      nodes.append(Node("Cast", inputs: [name], outputs: [tensor.name], attributes: ["to": .int(Int64(type.rawValue))]))
    }
  }

  private mutating func add(_ tensor: QuantizedTensor, making result: String, isMoved: Bool) throws {
    let layout = RowLayout(tensor.form)
    let storage = DequantizeEncoding.storage(bits: tensor.bits, zeroUnit: tensor.zeroUnit)
    let unit = UInt8(tensor.zeroUnit)
    var codes = tensor.codes
    var (scales, zeroPoints) = (tensor.scales, tensor.zeroPoints)
    if unit != 1 {
      for i in codes.indices { codes[i] *= unit }
      for i in scales.indices { scales[i] /= Float(unit) }
    }
    // One block a row is the same as none.
    let blocks = tensor.blockSize > 0 && layout.rows > 0 ? scales.count / layout.rows : 1
    var attributes: [String: Attribute] = [:]
    var (codeShape, gridShape) = (tensor.shape, tensor.axis == nil ? [] : [layout.rows])
    var output = result
    if blocks > 1 || isMoved && storage == .uint2 {
      attributes["block_size"] = .int(Int64(blocks > 1 ? tensor.blockSize : max(1, layout.columns)))
      let rowsLast = rowsAreLast(tensor)
      if rowsLast {
        // The rows are the last axis already: the matrix is the tensor's own order, its blocks go down.
        codeShape = [layout.columns, layout.rows]
        gridShape = [blocks, layout.rows]
        scales = transposed(scales, rows: layout.rows, columns: blocks)
        zeroPoints = transposed(zeroPoints, rows: layout.rows, columns: blocks)
      } else {
        codes = layout.rowsFirst(codes)
        codeShape = [layout.rows, layout.columns]
        gridShape = [layout.rows, blocks]
      }
      attributes["axis"] = .int(rowsLast ? 0 : 1)
      let order = rowsLast ? tensor.shape : layout.rowsFirstShape
      if codeShape != order || !(rowsLast || layout.transposition.isEmpty) {
        output = names.takeValue("\(tensor.name).cet.matrix")
      }
      need(opset: 21)
    } else if let axis = tensor.axis {
      attributes["axis"] = .int(Int64(axis))
      need(opset: 13)
    } else {
      need(opset: 10)
    }
    switch storage {
    case .uint2: need(opset: 25, irVersion: 13)
    case .uint4: need(opset: 21, irVersion: 10)
    default: break
    }
    if storage == .uint2, output == result, codeShape.count == 2, codeShape[1] % 4 != 0, tensor.axis != 0 {
      // ONNX Runtime (1.32) packs such a matrix under MatMul or Gemm for a kernel that takes columns by four, and makes other
      // numbers of it. It packs what has two axes: one more in front keeps it off.
      codeShape.insert(1, at: 0)
      if gridShape.count == 2 { gridShape.insert(1, at: 0) }
      if case .int(let axis)? = attributes["axis"] { attributes["axis"] = .int(axis + 1) }
      output = names.takeValue("\(tensor.name).cet.matrix")
    }
    let inputs = ["q", "scale", "zero"].map { names.takeValue("\(tensor.name).cet.\($0)") }
    initializers += [
      Initializer(name: inputs[0], tensor: try retyped(codes, storage, codeShape)),
      Initializer(name: inputs[1], tensor: try Tensor(scales, shape: gridShape)),
      Initializer(name: inputs[2], tensor: try retyped(zeroPoints, storage, gridShape)),
    ]
    nodes.append(Node("DequantizeLinear", inputs: inputs, outputs: [output], attributes: attributes))
    if output != result { try reshape(tensor, layout, output, making: result) }
  }

  /// From the matrix to the tensor's shape.
  private mutating func reshape(_ tensor: QuantizedTensor, _ layout: RowLayout, _ matrix: String, making result: String) throws {
    guard !rowsAreLast(tensor), !layout.transposition.isEmpty else {
      nodes.append(Node("Reshape", inputs: [matrix, try shape(tensor.shape)], outputs: [result]))
      return
    }
    var value = matrix
    if layout.rowsFirstShape.count > 2 {
      value = names.takeValue("\(tensor.name).cet.rows")
      nodes.append(Node("Reshape", inputs: [matrix, try shape(layout.rowsFirstShape)], outputs: [value]))
    }
    nodes.append(
      Node("Transpose", inputs: [value], outputs: [result], attributes: ["perm": .ints(layout.transposition.map(Int64.init))]))
  }

  private func rowsAreLast(_ tensor: QuantizedTensor) -> Bool {
    if let axis = tensor.axis { axis == tensor.shape.count - 1 && axis > 0 } else { false }
  }

  private mutating func need(opset: Int, irVersion: Int64? = nil) {
    minimumOpset = max(minimumOpset ?? opset, opset)
    if let irVersion { minimumIRVersion = max(minimumIRVersion ?? irVersion, irVersion) }
  }

  private mutating func shape(_ sizes: [Int]) throws -> String {
    if let name = shapes[sizes] { return name }
    let name = names.takeValue("cet.s" + sizes.map(String.init).joined(separator: "_"))
    initializers.append(Initializer(name: name, tensor: try Tensor(sizes.map(Int64.init), shape: [sizes.count])))
    shapes[sizes] = name
    return name
  }

  /// Sub-byte types lie one a byte in a `Tensor`.
  private func retyped(_ codes: [UInt8], _ type: ElementType, _ shape: [Int]) throws -> Tensor {
    try Tensor(type: type, shape: shape, storage: Tensor(codes, shape: shape).storage)
  }

  private func transposed<Element>(_ values: [Element], rows: Int, columns: Int) -> [Element] {
    (0..<rows * columns).map { values[$0 % rows * columns + $0 / rows] }
  }
}
