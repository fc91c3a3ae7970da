import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Writes quantized tensors as the floats that their codes stand for: the file is as large as the unquantized one, and any program reads it.
struct FloatEncoding: WeightEncoding {
  static let makesFilesSmaller = false
  static let sufficientOpset = 1
  static let carriesTrellis = true
  let initializers: [Initializer] = []
  let nodes: [Node] = []
  let minimumOpset: Int? = nil
  let minimumIRVersion: Int64? = nil

  /// The levels of planes, so that a file of them can take this one's place.
  static func zeroUnit(bits: Int) -> Int { PlaneEncoding.zeroUnit(bits: bits) }

  /// What planes would take, because the floats take as much as unquantized ones.
  static func storedBytes(rows: Int, columns: Int, blocks: Int, _ format: CodeFormat) -> (codes: Int, grids: Int) {
    PlaneEncoding.storedBytes(rows: rows, columns: columns, blocks: blocks, format)
  }

  static func notes(_ layers: [LinearLayer]) -> [String] { [] }

  init(opset: Int, names: NameScope, runtime: Runtime?) {}

  mutating func add(_ weights: [WrittenWeight]) throws(CetError) -> [Tensor?] {
    try weights.map { weight throws(CetError) in
      let (shape, type) = (weight.form.shape, weight.elementType)
      guard let tensor = weight.tensor else { return try Tensor(uninitialized: type, shape) }
      return try Conversion.convert(Tensor(tensor.dequantized(), shape: shape), to: type, ComputeContext())
    }
  }
}
