import CKernels
import CetTensor

/// The weights of one linear layer, or of one group of it: rows × columns, row-major. A row holds the weights
/// of one output (O of them), a column is one entry of the input patch (K = C_in · kh · kw).
public struct WeightMatrix: Sendable {
  public let rows: Int
  public let columns: Int
  public private(set) var values: [Float]

  public init(_ values: [Float], rows: Int, columns: Int) throws(CetError) {
    guard rows >= 0, columns >= 0, [rows, columns].validatedCount == values.count else {
      throw CetError(.shapeMismatch, "weights of shape \([rows, columns].shapeText) got \(values.count) values")
    }
    self.values = values
    self.rows = rows
    self.columns = columns
  }

  /// The matrix with its largest magnitude near 1, and the power of two that was taken out: grids of values whose squares
  /// or inverses pass the ends of float32 are found there. Scaling by powers of two changes no code; within 2^±40 nothing
  /// is done.
  public func normalized() -> (matrix: WeightMatrix, exponent: Int) {
    let largest = values.reduce(Float(0)) { $1.isFinite ? max($0, abs($1)) : $0 }
    guard largest > 0, !(0x1p-40...0x1p40).contains(largest) else { return (self, 0) }
    let exponent = Int(largest.exponent)
    return (scaled(byPowerOfTwo: -exponent), exponent)
  }

  public func scaled(byPowerOfTwo exponent: Int) -> WeightMatrix {
    guard exponent != 0 else { return self }
    var result = self
    result.values = values.map { $0.isFinite ? Float(sign: .plus, exponent: exponent, significand: $0) : $0 }
    return result
  }

  /// Throws `.numeric` when a weight is NaN or infinite.
  func checkFinite() throws(CetError) {
    guard values.withUnsafeBufferPointer({ $0.baseAddress.map { ck_finite_f32($0, values.count) } ?? true }) else { throw CetError(.numeric, "the weights hold a value that is not finite") }
  }
}

/// 64-byte aligned scratch floats, uninitialised.
struct FloatBuffer {
  private let storage: Storage
  let count: Int
  var pointer: UnsafeMutablePointer<Float> { storage.pointer.assumingMemoryBound(to: Float.self) }

  /// - Parameter arena: where the memory comes from, and goes back to; nil: the heap.
  init(_ count: Int, arena: Arena? = nil) throws(CetError) {
    let byteCount = count * MemoryLayout<Float>.stride
    storage = try arena.storage(byteCount: byteCount)
    self.count = count
  }
}
