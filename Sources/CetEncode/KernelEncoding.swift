import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Writes quantized tensors as operands of onnxruntime's own operators, which compute with the codes as they are: weights stay as
/// small in memory as they are in the file. MatMulNBits takes the place of MatMul and Gemm, GatherBlockQuantized that of
/// Gather; everything else becomes planes.
///
/// MatMulNBits (com.microsoft) has the matrix as rows [N, ⌈K / B⌉, B · bits / 8] of uint8, filled up to whole blocks, with one scale
/// a block and zero points packed like the codes, whole bytes a row. Activations stay float: accuracy_level 1. B is a power of two
/// from 16 to 256, which are the sizes that all of its releases compute right. Symmetric codes need no zero points there: without
/// them they are 2^(bits − 1). Those of 2 bits have them all the same: OpenVINO 2026.4 opens such a file without them and fails to run it.
/// Scales are of the activations' type, float32 or float16.
/// GatherBlockQuantized has 4 bits as UINT4 or INT4, which needs operator set 21, and 2 and 8 bits in uint8, of 2 bits four to a byte.
struct KernelEncoding: WeightEncoding {
  static let makesFilesSmaller = true
  /// UINT4 since.
  static let sufficientOpset = 21
  static let carriesTrellis = false
  private static let domain = "com.microsoft"
  static let usualBlocks = Granularity.block(128)

  private let opset: Int
  private var planes: PlaneEncoding
  private let runtime: Runtime
  private var own: [Initializer] = []
  private var names: NameScope { planes.names }
  private var hasTypedTable = false
  private var kernels: [String: Kernel] = [:]

  private enum Kernel {
    case product(operands: [String], attributes: [String: Attribute])
    case table(operands: [String], attributes: [String: Attribute])
  }

  var initializers: [Initializer] { own + planes.initializers }
  var nodes: [Node] { planes.nodes }
  var minimumOpset: Int? { hasTypedTable ? KernelEncoding.sufficientOpset : planes.minimumOpset }
  var minimumIRVersion: Int64? { hasTypedTable ? 10 : nil }
  var domains: [String: Int] { kernels.isEmpty ? [:] : [KernelEncoding.domain: 1] }

  /// The kernels have whole zero points; 3 bits lie in planes.
  static func zeroUnit(bits: Int) -> Int { bits == 3 ? 2 : 1 }

  /// Of what no kernel takes.
  static func storedBytes(rows: Int, columns: Int, blocks: Int, _ format: CodeFormat) -> (codes: Int, grids: Int) {
    PlaneEncoding.storedBytes(rows: rows, columns: columns, blocks: blocks, format)
  }

  static let fillsBlocks = PlaneEncoding.fillsBlocks

  /// Bytes of codes without what fills up blocks, and of all operands of a kernel; nil where none takes the layer's weight.
  static func storedBytes(
    _ layer: LinearLayer, _ format: CodeFormat, _ granularity: Granularity, _ runtime: Runtime?
  ) -> (codes: Int, stored: Int)? {
    let bits = format.bits
    guard !format.coding.isTrellis, kernelWidths(layer, granularity, runtime).contains(bits),
      let block = blockSize(granularity.blockSize, columns: layer.columns)
    else { return nil }
    let (rows, blocks) = (layer.count / max(1, layer.columns), (layer.columns + block - 1) / block)
    let isTable = if case .table = layer.kind { true } else { false }
    func packed(_ count: Int) -> Int { BitPacking.packedByteCount(count: count, bits: bits) }
    let codes = isTable ? packed(layer.count) : rows * packed(blocks * block)
    let zeros = !hasZeroPoints(format) ? 0 : isTable && bits == 4 ? packed(rows * blocks) : rows * packed(blocks)
    return (packed(layer.count), codes + layer.elementType.byteWidth * rows * blocks + zeros)
  }

  /// Whether a kernel's operands have them.
  private static func hasZeroPoints(_ format: CodeFormat) -> Bool { format.coding.hasZeroPoints || format.bits == 2 }

  static func notes(_ layers: [LinearLayer]) -> [String] { [] }

  init(opset: Int, names: NameScope, runtime: Runtime?) {
    self.opset = opset
    planes = PlaneEncoding(opset: opset, names: names, runtime: runtime)
    self.runtime = runtime ?? .usual
  }

  /// Widths at which a kernel computes with a layer's weight; none where it is no operand of one.
  static func kernelWidths(_ layer: LinearLayer, _ granularity: Granularity, _ runtime: Runtime?) -> Set<Int> {
    guard [.float32, .float16].contains(layer.elementType), layer.shape.count == 2, !layer.isMoved, layer.isReplaceable, granularity != .perTensor,
      let block = blockSize(granularity.blockSize, columns: layer.columns)
    else { return [] }
    let runtime = runtime ?? .usual
    switch layer.kind {
    case .matrix where isProduct(layer.node, layer.name): return runtime.productWidths(layer.elementType)
    case .table where layer.node.operatorType == "Gather":
      guard runtime.takesPartialBlocks || layer.columns.isMultiple(of: max(1, block)) else { return [] }
      return runtime.tableWidths.filter { $0 > 2 || layer.columns.isMultiple(of: 4) }
    default: return []
    }
  }

  /// The weight itself is the right operand, and nothing is scaled.
  private static func isProduct(_ node: Node, _ weight: String) -> Bool {
    guard node.domain.isEmpty, node.input(1) == weight else { return false }
    func isOne(_ name: String) -> Bool { if case .float(let value)? = node.attributes[name] { value == 1 } else { true } }
    switch node.operatorType {
    case "MatMul": return true
    case "Gemm": return isOne("alpha") && (node.input(2).isEmpty || isOne("beta"))
    default: return false
    }
  }

  /// That the kernels know for blocks of this size, 0 for one a row, as are blocks that are no shorter; nil: none.
  private static func blockSize(_ asked: Int, columns: Int) -> Int? {
    let isWhole = asked == 0 || asked >= columns
    var size = 16
    while size < (isWhole ? columns : asked) { size *= 2 }
    return size <= 256 && (isWhole || asked == size) ? size : nil
  }

  /// Of a weight that a kernel was found for.
  private static func blockSize(of form: QuantizedForm) throws(CetError) -> Int {
    if let size = blockSize(form.blockSize, columns: form.order.columns) { return size }
    throw CetError(.internal, "no kernel has blocks of \(form.blockSize) of the \(form.order.columns) columns of '\(form.name)'")
  }

  mutating func add(_ weights: [WrittenWeight]) throws(CetError) -> [Tensor?] {
    func isTable(_ weight: WrittenWeight) -> Bool { if case .table? = weight.layer?.kind { true } else { false } }
    let isInKernel = weights.map { $0.kernelWidths(runtime).contains($0.form.bits) }
    hasTypedTable = zip(weights, isInKernel).contains { $1 && isTable($0) && $0.form.bits == 4 }
    // Planes beside it are of the operator set that its types need.
    if hasTypedTable { planes = PlaneEncoding(opset: max(opset, KernelEncoding.sufficientOpset), names: planes.names, runtime: runtime) }
    for (weight, isInKernel) in zip(weights, isInKernel) where isInKernel {
      if isTable(weight) { try addTable(weight) } else { try addProduct(weight) }
    }
    let rest = zip(weights, isInKernel).compactMap { $1 ? nil : $0 }
    _ = try planes.add(rest)
    return weights.map { _ in nil }
  }

  private mutating func addProduct(_ weight: WrittenWeight) throws(CetError) {
    let form = weight.form
    let order = form.order
    let block = try KernelEncoding.blockSize(of: form)
    let blocks = (order.columns + block - 1) / block
    let bits = form.bits
    let operands = takeNames(form)
    own += [
      Initializer(
        name: operands[0],
        tensor: try weight.filled(.uint8, [order.rows, blocks, block * bits / 8]) { tensor in
          BitPacking.pack(order.paddedRows(tensor.codes, width: blocks * block), bits: bits)
        }),
      Initializer(name: operands[1], tensor: try weight.filledScales([order.rows * blocks])),
    ]
    if KernelEncoding.hasZeroPoints(form.format) {
      own.append(
        Initializer(
          name: operands[2],
          tensor: try weight.filled(.uint8, [order.rows * BitPacking.packedByteCount(count: blocks, bits: bits)]) { tensor in
            KernelEncoding.packedRows(tensor.ownOrSharedZeroPoints, columns: blocks, bits: bits)
          }))
    }
    kernels[form.name] = .product(
      operands: operands,
      attributes: [
        "K": .int(Int64(order.columns)), "N": .int(Int64(order.rows)), "bits": .int(Int64(bits)), "block_size": .int(Int64(block)),
        "accuracy_level": .int(1),
      ])
  }

  private mutating func addTable(_ weight: WrittenWeight) throws(CetError) {
    let form = weight.form
    let (rows, columns) = (form.order.rows, form.order.columns)
    let block = try KernelEncoding.blockSize(of: form)
    let blocks = (columns + block - 1) / block
    let hasZeroPoints = KernelEncoding.hasZeroPoints(form.format)
    // Without zero points codes of UINT4 would begin at 0, those of uint8 in the middle.
    let type: ElementType = form.bits != 4 ? .uint8 : hasZeroPoints ? .uint4 : .int4
    let shift = type == .int4 ? UInt8(form.middle) : 0
    let codesPerByte = form.bits == 2 ? 4 : 1
    let operands = takeNames(form)
    own += [
      Initializer(
        name: operands[0],
        tensor: try weight.filled(type, [rows, columns / codesPerByte]) { tensor in
          form.bits == 2 ? BitPacking.pack(tensor.codes, bits: 2) : shift == 0 ? tensor.codes : tensor.codes.map { $0 &- shift }
        }),
      Initializer(name: operands[1], tensor: try weight.filledScales([rows, blocks])),
    ]
    if hasZeroPoints {
      own.append(
        Initializer(
          name: operands[2],
          tensor: try weight.filled(type, [rows, (blocks + codesPerByte - 1) / codesPerByte]) { tensor in
            form.bits == 2 ? KernelEncoding.packedRows(tensor.ownOrSharedZeroPoints, columns: blocks, bits: 2) : tensor.zeroPoints
          }))
    }
    var attributes: [String: Attribute] = ["gather_axis": .int(0), "quantize_axis": .int(1), "block_size": .int(Int64(block))]
    if type == .uint8 { attributes["bits"] = .int(Int64(form.bits)) }
    kernels[form.name] = .table(operands: operands, attributes: attributes)
  }

  private mutating func takeNames(_ form: QuantizedForm) -> [String] {
    (KernelEncoding.hasZeroPoints(form.format) ? ["q", "scale", "zero"] : ["q", "scale"]).map { planes.names.takeValue("\(form.name).cet.\($0)") }
  }

  /// Each row by itself, in whole bytes.
  private static func packedRows(_ values: [UInt8], columns: Int, bits: Int) -> [UInt8] {
    guard columns > 0 else { return [] }
    return stride(from: 0, to: values.count, by: columns).flatMap { BitPacking.pack(Array(values[$0..<$0 + columns]), bits: bits) }
  }

  mutating func reading(_ node: Node) -> [Node]? {
    guard let name = node.inputs.first(where: { kernels[$0] != nil }), let kernel = kernels[name] else { return nil }
    switch kernel {
    case .table(let operands, let attributes):
      return [
        Node(
          "GatherBlockQuantized", domain: KernelEncoding.domain, name: node.name, inputs: [operands[0], node.input(1)] + operands.dropFirst(),
          outputs: node.outputs, attributes: attributes)
      ]
    case .product(let operands, let attributes):
      // The addend of Gemm is added behind.
      let addend = node.operatorType == "Gemm" ? node.input(2) : ""
      let output = addend.isEmpty ? node.firstOutput : planes.names.takeValue("\(node.firstOutput).cet.sum")
      let product = Node(
        "MatMulNBits", domain: KernelEncoding.domain, name: node.name, inputs: [node.input(0)] + operands, outputs: [output], attributes: attributes)
      return addend.isEmpty ? [product] : [product, Node("Add", inputs: [output, addend], outputs: [node.firstOutput])]
    }
  }
}
