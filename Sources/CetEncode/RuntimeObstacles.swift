import CetLayers
import CetQuantize

// What runtimes cannot do with valid files, as tried (Tests/python/test_runtimes.py).

extension Encoding {
  /// Why a file of this encoding that is to open in `runtime` cannot have codes of so many bits; nil: it can.
  public func obstacle(bits: Int, _ runtime: Runtime?) -> String? {
    guard self == .qdq, let runtime, !DequantizeEncoding.isReadable(bits: bits, runtime) else { return nil }
    return "encoding 'qdq' stores codes of \(bits) bit\(bits == 1 ? "" : "s") in a type that \(runtime) does not read"
  }

  /// Why a layer's weight cannot have them: `runtime` would not open the file, or compute something else; nil: it can.
  public func obstacle(bits: Int, of layer: LinearLayer, _ granularity: Granularity, _ runtime: Runtime?) -> String? {
    if let reason = obstacle(bits: bits, runtime) { return reason }
    guard case .openvino? = runtime, let runtime else { return nil }
    if self != .float, layer.elementType == .bfloat16 { return "\(runtime) cuts what is rounded to bfloat16, the type of the weight" }
    guard self == .qdq else { return nil }
    if layer.orientations > 1 {
      return "\(runtime) mixes up products that read one weight in two orientations in encoding 'qdq'"
    }
    let block = granularity.blockSize
    if block > 0, block < layer.columns, !layer.columns.isMultiple(of: block) {
      return "\(runtime) opens no file in which blocks of \(block) do not divide the \(layer.columns) columns of a weight"
    }
    // Its products read packed rows of odd length at wrong places. What else reads a table, or moves a weight, may be any of them.
    let lengths: [Int] =
      switch layer.kind {
      case .matrix: [layer.columns]
      case .leftMatrix: []
      default: layer.orientations == 0 ? [] : layer.shape.suffix(2)
      }
    if let odd = lengths.first(where: { !$0.isMultiple(of: 2) }), DequantizeEncoding.isPacked(bits: bits) {
      return "\(runtime) computes wrong products with \(bits) bits and an odd number of summands (\(odd)) in encoding 'qdq'"
    }
    return nil
  }
}
