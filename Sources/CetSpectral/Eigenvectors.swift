import CKernels
import CetTensor

/// Unit vectors in the memory of the basis that they were found in.
public final class Eigenvectors: @unchecked Sendable {  // immutable once handed out
  public let dimension: Int
  /// What the vectors are stored as; they are read as float32.
  public let type: BasisType
  /// Rows of the memory, in the order of the pairs.
  private(set) var order: [Int]
  private let memory: BasisMemory
  private let rows: Int

  init(dimension: Int, order: [Int], type: BasisType, memory: BasisMemory) {
    self.dimension = dimension
    self.order = order
    self.type = type
    self.memory = memory
    rows = order.count
  }

  /// Copies of the given vectors, one after another.
  public convenience init(dimension: Int, vectors: [Float]) throws(CetError) {
    let count = dimension > 0 ? vectors.count / dimension : 0
    let basis = try Basis(n: dimension, rows: count, workers: Workers(threads: 1))
    try vectors.withUnsafeBufferPointer { vectors throws(CetError) in
      guard let start = vectors.baseAddress else { return }
      for i in 0..<count { try basis.store(start + i * dimension, at: i) }
    }
    self.init(dimension: dimension, order: Array(0..<count), type: .float32, memory: basis.memory)
  }

  /// Vectors as `eachPiece` gave them.
  public convenience init(
    dimension: Int, count: Int, type: BasisType, fill: (UnsafeMutableRawBufferPointer) throws(CetError) -> Void
  ) throws(CetError) {
    let basis = try Basis(n: dimension, rows: count, type: type, workers: Workers(threads: 1))
    for row in 0..<count {
      for panel in 0..<basis.panels {
        try fill(
          UnsafeMutableRawBufferPointer(
            start: basis.address(panel, row), count: basis.columns(panel).count * type.byteCount))
      }
    }
    self.init(dimension: dimension, order: Array(0..<count), type: type, memory: basis.memory)
  }

  /// The stored bytes of a vector from first to last, piece by piece.
  public func eachPiece<Failure>(of index: Int, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    for start in stride(from: 0, to: dimension, by: Basis.width) {
      let length = min(Basis.width, dimension - start)
      let place = memory.pointer + (start * rows + order[index] * length) * type.byteCount
      try body(UnsafeRawBufferPointer(start: place, count: length * type.byteCount))
    }
  }

  public var count: Int { order.count }
  public var byteCount: Int { memory.byteCount }

  /// Writes vector `index`, `dimension` elements.
  public func copy(_ index: Int, into target: UnsafeMutablePointer<Float>) {
    let row = order[index]
    for start in stride(from: 0, to: dimension, by: Basis.width) {
      let length = min(Basis.width, dimension - start)
      let place = memory.pointer + (start * rows + row * length) * type.byteCount
      switch type {
      case .float32: (target + start).update(from: place.assumingMemoryBound(to: Float.self), count: length)
      case .bfloat16: ck_widen_bf16(place.assumingMemoryBound(to: UInt16.self), target + start, length)
      }
    }
  }

  public subscript(_ index: Int) -> [Float] {
    [Float](unsafeUninitializedCapacity: dimension) { buffer, count in
      if let start = buffer.baseAddress, dimension > 0 { copy(index, into: start) }
      count = dimension
    }
  }

  /// Vector i becomes what vector `places[i]` was.
  func reorder(_ places: [Int]) { order = places.map { order[$0] } }

  /// Scales vector `index` in place; rounded ones stay as they are.
  func normalize(_ index: Int, by factor: Double) {
    guard type == .float32 else { return }
    for start in stride(from: 0, to: dimension, by: Basis.width) {
      let length = min(Basis.width, dimension - start)
      let place = memory.pointer + (start * rows + order[index] * length) * type.byteCount
      ck_scale_wide_f32(factor, place.assumingMemoryBound(to: Float.self), length)
    }
  }

  /// ⟨vector `index`, x⟩
  public func dot(_ index: Int, _ x: UnsafePointer<Float>) -> Double {
    var piece = [Float](repeating: 0, count: min(Basis.width, dimension))
    var sum = 0.0
    for start in stride(from: 0, to: dimension, by: Basis.width) {
      let length = min(Basis.width, dimension - start)
      let place = memory.pointer + (start * rows + order[index] * length) * type.byteCount
      switch type {
      case .float32: sum += ck_dot_f32(place.assumingMemoryBound(to: Float.self), x + start, length)
      case .bfloat16:
        ck_widen_bf16(place.assumingMemoryBound(to: UInt16.self), &piece, length)
        sum += ck_dot_f32(piece, x + start, length)
      }
    }
    return sum
  }

  /// target += factor · vector `index`
  public func add(_ index: Int, times factor: Double, to target: UnsafeMutablePointer<Float>) {
    var piece = [Float](repeating: 0, count: min(Basis.width, dimension))
    for start in stride(from: 0, to: dimension, by: Basis.width) {
      let length = min(Basis.width, dimension - start)
      let place = memory.pointer + (start * rows + order[index] * length) * type.byteCount
      switch type {
      case .float32: ck_axpy_wide_f32(factor, place.assumingMemoryBound(to: Float.self), target + start, length)
      case .bfloat16:
        ck_widen_bf16(place.assumingMemoryBound(to: UInt16.self), &piece, length)
        ck_axpy_wide_f32(factor, piece, target + start, length)
      }
    }
  }
}
