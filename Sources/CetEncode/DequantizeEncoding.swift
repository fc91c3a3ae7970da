import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Writes quantized tensors as codes of ONNX's integer types under DequantizeLinear, one node for each tensor where its
/// grid allows: w = (codes − zero point) · scale. Symmetric codes are signed, and their zero point, 0, stands nowhere but where the weight
/// is moved: onnxruntime before 1.28 moves DequantizeLinear behind Transpose, and takes codes without a zero point for uint8 there.
///
/// Zero points of ONNX are whole numbers of codes. Where they count in halves, 2 · code, the zero point and scale / 2 say
/// the same one type wider. Blocks lie along one axis of DequantizeLinear, those of a `QuantizedTensor` along all axes
/// but its own: tensors of more than two axes are stored as matrices and get their shape from Reshape.
struct DequantizeEncoding: NodeEncoding {
  static let makesFilesSmaller = true
  /// UINT2 since.
  static let sufficientOpset = 25
  /// DequantizeLinear knows levels of a grid alone.
  static let carriesTrellis = false
  private(set) var initializers: [Initializer] = []
  var nodes: [Node] = []
  private(set) var minimumOpset: Int?
  private(set) var minimumIRVersion: Int64?
  var names: NameScope
  private var shapes: [[Int]: String] = [:]
  /// Axes of the tensors that were added.
  private var ranks: [String: Int] = [:]

  /// DequantizeLinear has whole zero points: 3 bits lie in 4 there and have room for doubled codes, 2 bits have none.
  static func zeroUnit(bits: Int) -> Int { bits == 3 ? 2 : 1 }

  static func storedBytes(rows: Int, columns: Int, blocks: Int, _ format: CodeFormat) -> (codes: Int, grids: Int) {
    let width = storage(bits: format.bits, zeroUnit: zeroUnit(bits: format.bits), format.coding).bitWidth
    func packed(_ count: Int) -> Int { BitPacking.packedByteCount(count: count, bits: width) }
    return (packed(rows * columns), 4 * rows * blocks + (format.coding.hasZeroPoints ? packed(rows * blocks) : 0))
  }

  /// Runtimes replace DequantizeLinear in front of a matrix product by a kernel that rounds the activations as well: measured
  /// in ONNX Runtime 1.32, the output's error at 8 bits grows by half to twice.
  static func notes(_ layers: [LinearLayer]) -> [String] { productNotes(layers, "encoding qdq", losses: "float") }

  /// - Parameters:
  ///   - cause: what puts these layers' weights under DequantizeLinear beside activations of more than 8 bits.
  ///   - losses: of which activations losses are told.
  static func productNotes(_ layers: [LinearLayer], _ cause: String, losses: String) -> [String] {
    let products = layers.count { layer in
      if case .matrix = layer.kind { ["MatMul", "Gemm"].contains(layer.node.operatorType) } else { false }
    }
    guard products > 0 else { return [] }
    return [
      "\(cause): onnxruntime's default computes \(products) matrix product\(products == 1 ? "" : "s") with 8-bit activations; the losses told are those of \(losses) activations, which the session option session.qdq_matmulnbits_accuracy_level=1 keeps"
    ]
  }

  init(opset: Int, names: NameScope, runtime: Runtime?) { self.names = names }

  /// Whether a runtime opens files with codes of this width.
  static func isReadable(bits: Int, _ runtime: Runtime) -> Bool {
    storage(bits: bits, zeroUnit: zeroUnit(bits: bits), .affine).bitWidth > 2 || runtime.readsTwoBitType
  }

  /// Whether bytes hold two codes of this width.
  static func isPacked(bits: Int) -> Bool { storage(bits: bits, zeroUnit: zeroUnit(bits: bits), .affine).bitWidth == 4 }

  /// The type that holds codes of this width; there is none of 3 bits.
  private static func storage(bits: Int, zeroUnit: Int, _ coding: Coding) -> ElementType {
    let isSigned = coding == .symmetric
    // Doubled codes take a bit more.
    switch bits + (isSigned ? 0 : zeroUnit - 1) {
    case ...2: return isSigned ? .int2 : .uint2
    case ...4: return isSigned ? .int4 : .uint4
    default: return isSigned ? .int8 : .uint8
    }
  }

  static func groups(_ weights: [WrittenWeight]) -> [[Int]] { weights.indices.map { [$0] } }

  mutating func add(_ weights: [WrittenWeight], making results: [String]) throws(CetError) {
    for (weight, result) in zip(weights, results) { try add(weight, making: result) }
  }

  /// onnxruntime 1.20 to 1.30 ends its process where a Transpose of such a weight leaves its order of axes to the standard.
  mutating func reading(_ node: Node) -> [Node]? {
    guard node.domain.isEmpty, node.operatorType == "Transpose", node.attributes["perm"] == nil, let rank = ranks[node.input(0)] else { return nil }
    var explicit = node
    explicit.attributes["perm"] = .ints((0..<rank).reversed().map(Int64.init))
    return [explicit]
  }

  private mutating func add(_ weight: WrittenWeight, making result: String) throws(CetError) {
    let form = weight.form
    ranks[form.name] = form.shape.count
    guard !form.coding.isTrellis else {
      throw CetError(.invalidArgument, "encoding 'qdq' cannot hold the trellis codes of '\(form.name)': plan or quantize for this encoding")
    }
    let layout = RowLayout(form)
    let storage = DequantizeEncoding.storage(bits: form.bits, zeroUnit: form.zeroUnit, form.coding)
    // One block a row is the same as none.
    let blocks = layout.rows > 0 ? form.blocksPerRow : 1
    var attributes: [String: Attribute] = [:]
    var (codeShape, gridShape) = (form.shape, form.axis == nil ? [] : [layout.rows])
    var order = Order.tensor
    var output = result
    // ONNX Runtime moves what reads the weight, such as Transpose, before DequantizeLinear and fails to fold it for two bits (1.24 to
    // 1.32), or mixes codes up (1.25 and 1.26, of a Reshape where there is one scale), except where scales are in blocks: one block a
    // row, then.
    if blocks > 1 || storage.bitWidth == 2 && (weight.isMoved || form.scaleCount == 1) {
      attributes["block_size"] = .int(Int64(blocks > 1 ? form.blockSize : max(1, layout.columns)))
      let rowsLast = rowsAreLast(form)
      if rowsLast {
        // The rows are the last axis already: the matrix is the tensor's own order, its blocks go down.
        codeShape = [layout.columns, layout.rows]
        gridShape = [blocks, layout.rows]
        order = .blocksDown(rows: layout.rows, blocks: blocks)
      } else {
        codeShape = [layout.rows, layout.columns]
        gridShape = [layout.rows, blocks]
        order = .rowsFirst(layout)
      }
      attributes["axis"] = .int(rowsLast ? 0 : 1)
      let natural = rowsLast ? form.shape : layout.rowsFirstShape
      if codeShape != natural || !(rowsLast || layout.transposition.isEmpty) {
        output = names.takeValue("\(form.name).cet.matrix")
      }
      need(opset: 21)
    } else if let axis = form.axis {
      attributes["axis"] = .int(Int64(axis))
      need(opset: 13)
    } else {
      need(opset: 10)
    }
    switch storage.bitWidth {
    case 2: need(opset: 25, irVersion: 13)
    case 4: need(opset: 21, irVersion: 10)
    default: break
    }
    // ONNX Runtime (1.32) packs such a matrix under MatMul or Gemm for a kernel that takes columns by four, and makes other numbers of it.
    let isMispacked = storage.bitWidth == 2 && (codeShape.last ?? 0) % 4 != 0 && form.axis != 0
    // Beside codes of activations it makes a kernel of integers of a product, when nothing but Identity is between, and leaves the blocks out.
    let isMixedUp = weight.isBesideCodes && weight.isMoved && blocks > 1
    // Beside them it also makes one of a product whose left operand is the weight, and fails in every run: it has no such kernel for more
    // than one scale, nor for two bits.
    let isLeft = if weight.isBesideCodes, form.scaleCount > 1, case .leftMatrix? = weight.layer?.kind { true } else { false }
    if output == result, isLeft || (isMispacked || isMixedUp) && codeShape.count == 2 {
      // One axis more in front, which Reshape takes off again, keeps it from all that.
      codeShape.insert(1, at: 0)
      if gridShape.count == 2 { gridShape.insert(1, at: 0) }
      if case .int(let axis)? = attributes["axis"] { attributes["axis"] = .int(axis + 1) }
      output = names.takeValue("\(form.name).cet.matrix")
    }
    let hasZeroPoints = form.coding.hasZeroPoints || weight.isMoved
    let parts = hasZeroPoints ? ["q", "scale", "zero"] : ["q", "scale"]
    let inputs = parts.map { names.takeValue("\(form.name).cet.\($0)") }
    let (unit, middle) = (UInt8(form.zeroUnit), UInt8(form.coding.hasZeroPoints ? 0 : form.middle))
    initializers += [
      Initializer(
        name: inputs[0],
        tensor: try weight.filled(storage, codeShape) { tensor in
          let codes = order.codes(tensor.codes)
          return unit == 1 && middle == 0 ? codes : codes.map { $0 &* unit &- middle }
        }),
      Initializer(
        name: inputs[1],
        tensor: try weight.filled(.float32, gridShape) { tensor in
          let scales = order.grids(tensor.scales)
          return unit == 1 ? scales : scales.map { $0 / Float(unit) }
        }),
    ]
    if hasZeroPoints {
      let zeros = try weight.filled(storage, gridShape) { tensor in
        form.coding.hasZeroPoints ? order.grids(tensor.zeroPoints) : [UInt8](repeating: 0, count: tensor.scales.count)
      }
      initializers.append(Initializer(name: inputs[2], tensor: zeros))
    }
    nodes.append(Node("DequantizeLinear", inputs: inputs, outputs: [output], attributes: attributes))
    if output != result { try reshape(form, layout, output, making: result) }
  }

  /// From the matrix to the tensor's shape.
  private mutating func reshape(_ form: QuantizedForm, _ layout: RowLayout, _ matrix: String, making result: String) throws(CetError) {
    guard !rowsAreLast(form), !layout.transposition.isEmpty else {
      nodes.append(Node("Reshape", inputs: [matrix, try shape(form.shape)], outputs: [result]))
      return
    }
    var value = matrix
    if layout.rowsFirstShape.count > 2 {
      value = names.takeValue("\(form.name).cet.rows")
      nodes.append(Node("Reshape", inputs: [matrix, try shape(layout.rowsFirstShape)], outputs: [value]))
    }
    nodes.append(
      Node("Transpose", inputs: [value], outputs: [result], attributes: ["perm": .ints(layout.transposition.map(Int64.init))]))
  }

  private func rowsAreLast(_ form: QuantizedForm) -> Bool {
    if let axis = form.axis { axis == form.shape.count - 1 && axis > 0 } else { false }
  }

  private mutating func need(opset: Int, irVersion: Int64? = nil) {
    minimumOpset = max(minimumOpset ?? opset, opset)
    if let irVersion { minimumIRVersion = max(minimumIRVersion ?? irVersion, irVersion) }
  }

  private mutating func shape(_ sizes: [Int]) throws(CetError) -> String {
    if let name = shapes[sizes] { return name }
    let name = names.takeValue("cet.s" + sizes.map(String.init).joined(separator: "_"))
    initializers.append(Initializer(name: name, tensor: try Tensor(sizes.map(Int64.init), shape: [sizes.count])))
    shapes[sizes] = name
    return name
  }

  /// In which order codes, scales and zero points stand in the file.
  private enum Order {
    case tensor
    case rowsFirst(RowLayout)
    /// Codes as in the tensor; a row of grids for each block.
    case blocksDown(rows: Int, blocks: Int)

    func codes(_ values: [UInt8]) -> [UInt8] { if case .rowsFirst(let layout) = self { layout.rowsFirst(values) } else { values } }

    func grids<Element>(_ values: [Element]) -> [Element] {
      guard case .blocksDown(let rows, let blocks) = self else { return values }
      return (0..<rows * blocks).map { values[$0 % rows * blocks + $0 / rows] }
    }
  }
}
