import CKernels
import CetTensor

/// The sums behind `SecondMoment` (left = right, only the lower triangle is kept) and `CrossMoment`.
struct MomentState: Sendable {
  let left: Int
  let right: Int
  let symmetric: Bool
  private(set) var count = 0
  private(set) var leftMean: [Double]
  private(set) var rightMean: [Double]
  /// Σ (a − mean a)(b − mean b)ᵀ, [left × right]; the strict upper triangle is unused when symmetric.
  private var scatter: Sums
  private let arena: Arena?
  /// Σ (a − mean a)²; empty where nobody asks for it.
  private(set) var leftSquares: [Double]
  /// Patches that wait for a full chunk, so that sums do not depend on the sizes of the calls.
  private var pendingLeft: [Float] = []
  private var pendingRight: [Float] = []
  private(set) var pendingRows = 0

  /// Long enough that adding in double is cheap, short enough that single precision loses nothing.
  static let chunkRows = 512
  /// Products are made in tiles that stay in cache while they are added in double. Rows of a power of two of floats would share a few lines
  /// of it: products of 512 × 512 take a quarter to a half longer an entry.
  static let tile = 576

  init(left: Int, right: Int, symmetric: Bool, hasLeftSquares: Bool = false, arena: Arena?) throws(CetError) {
    self.arena = arena
    self.left = left
    self.right = right
    self.symmetric = symmetric
    leftSquares = [Double](repeating: 0, count: hasLeftSquares ? left : 0)
    leftMean = [Double](repeating: 0, count: left)
    rightMean = [Double](repeating: 0, count: right)
    scatter = try Sums(left * right, arena)
  }

  mutating func add(
    _ a: UnsafePointer<Float>, _ leftStride: Int, _ b: UnsafePointer<Float>, _ rightStride: Int, rows: Int
  ) throws(CetError) {
    guard rows >= 0, leftStride >= left, rightStride >= right else {
      throw CetError(.invalidArgument, "\(rows) patches with strides \(leftStride), \(rightStride) for \(left), \(right) values")
    }
    var row = 0
    while row < rows {
      if pendingRows == 0 && rows - row >= MomentState.chunkRows {
        try addChunk(a + row * leftStride, leftStride, b + row * rightStride, rightStride, rows: MomentState.chunkRows)
        row += MomentState.chunkRows
        continue
      }
      let take = min(rows - row, MomentState.chunkRows - pendingRows)
      for i in row..<(row + take) {
        if !symmetric { pendingLeft.append(contentsOf: UnsafeBufferPointer(start: a + i * leftStride, count: left)) }
        pendingRight.append(contentsOf: UnsafeBufferPointer(start: b + i * rightStride, count: right))
      }
      pendingRows += take
      row += take
      if pendingRows == MomentState.chunkRows { try flush() }
    }
  }

  mutating func flush() throws(CetError) {
    guard pendingRows > 0 else { return }
    let (rows, heldLeft, heldRight) = (pendingRows, pendingLeft, pendingRight)
    pendingRows = 0
    pendingLeft.removeAll(keepingCapacity: true)
    pendingRight.removeAll(keepingCapacity: true)
    try heldRight.withUnsafeBufferPointer { b throws(CetError) in
      try heldLeft.withUnsafeBufferPointer { a throws(CetError) in
        guard let b = b.baseAddress else { return }
        try addChunk(a.baseAddress ?? b, left, b, right, rows: rows)
      }
    }
  }

  func flushed() throws(CetError) -> MomentState {
    guard pendingRows > 0 else { return self }
    var copy = self
    try copy.flush()
    return copy
  }

  mutating func merge(_ other: MomentState) throws(CetError) {
    try flush()
    let other = try other.flushed()
    guard other.count > 0 else { return }
    guard count > 0 else {
      self = other
      return
    }
    // n n' / (n + n') of the pairwise update.
    let weight = Double(count) * Double(other.count) / Double(count + other.count)
    let x = other.scatter.pointer
    let sum = try scatter.writable()
    (0..<right).map { other.rightMean[$0] - rightMean[$0] }.withUnsafeBufferPointer { d in
      guard let d = d.baseAddress else { return }
      for i in 0..<left {
        let width = symmetric ? i + 1 : right
        ck_accumulate_f64(x + i * right, sum + i * right, width)
        ck_axpy_f64((other.leftMean[i] - leftMean[i]) * weight, d, sum + i * right, width)
      }
    }
    for i in leftSquares.indices {
      let d = other.leftMean[i] - leftMean[i]
      leftSquares[i] += other.leftSquares[i] + d * d * weight
    }
    take(count: other.count, leftMean: other.leftMean, rightMean: other.rightMean)
  }

  /// The covariance, with entry (i, j) in row `rows[i]` and column `columns[j]`.
  func covariance(centred: Bool, rows: [Int], columns: [Int], _ workers: Workers) throws(CetError) -> [Double] {
    guard count > 0 else { return [Double](repeating: 0, count: left * right) }
    let share = 1 / Double(count)
    let sums = scatter.pointer
    func value(_ i: Int, _ j: Int) -> Double { sums[i * right + j] * share + (centred ? 0 : leftMean[i] * rightMean[j]) }
    var result = [Double](unsafeUninitializedCapacity: left * right) { $1 = left * right }
    let edge = 64
    let parts = stride(from: 0, to: left, by: edge).map { $0..<min($0 + edge, left) }
    var sources = [Int](repeating: 0, count: left)
    for (from, to) in rows.enumerated() { sources[to] = from }
    try result.withUnsafeMutableBufferPointer { target throws(CetError) in
      guard let target = target.baseAddress else { return }
      // Every entry is written by the one task of the row of the result that its sum stands in.
      nonisolated(unsafe) let result = target
      try workers.limited(forOnePassOver: left * right).forEach(parts.count) { part in
        for row in parts[part] {
          let i = sources[row]
          for j in 0..<(symmetric ? i + 1 : right) { result[row * right + columns[j]] = value(i, j) }
        }
        guard symmetric else { return }
        // The other triangle, in squares that fit the cache.
        for square in parts {
          for j in square {
            let line = result + columns[j] * right
            for row in parts[part] where j < sources[row] { line[row] = value(sources[row], j) }
          }
        }
      }
    }
    return result
  }

  /// The variance of entry i of both sides.
  func variance(_ i: Int, centred: Bool) -> Double {
    count == 0 ? 0 : scatter.pointer[i * right + i] / Double(count) + (centred ? 0 : leftMean[i] * rightMean[i])
  }

  /// One chunk: its means, and its centred product with the pairwise update.
  private mutating func addChunk(
    _ a: UnsafePointer<Float>, _ leftStride: Int, _ b: UnsafePointer<Float>, _ rightStride: Int, rows: Int
  ) throws(CetError) {
    let columns = try ColumnMeans.centred(b, rows: rows, columns: right, stride: rightStride, spareRows: 1, arena)
    let lines = symmetric ? columns : try ColumnMeans.centred(a, rows: rows, columns: left, stride: leftStride, spareRows: 1, arena)
    // The term d dᵀ n n' / (n + n') is that of one more row.
    let root = (Double(count) * Double(rows) / Double(count + rows)).squareRoot()
    for j in 0..<right { columns.values.pointer[rows * right + j] = Float((columns.mean[j] - rightMean[j]) * root) }
    if !symmetric { for i in 0..<left { lines.values.pointer[rows * left + i] = Float((lines.mean[i] - leftMean[i]) * root) } }
    let total = count > 0 ? rows + 1 : rows
    try withExtendedLifetime((lines, columns)) { () throws(CetError) in
      if !leftSquares.isEmpty { addSquares(lines.values.pointer, rows: total) }
      try addProduct(lines.values.pointer, columns.values.pointer, rows: total)
    }
    take(count: rows, leftMean: lines.mean, rightMean: columns.mean)
  }

  private mutating func addSquares(_ lines: UnsafePointer<Float>, rows: Int) {
    leftSquares.withUnsafeMutableBufferPointer { sums in
      for row in 0..<rows {
        for i in 0..<left { sums[i] += Double(lines[row * left + i]) * Double(lines[row * left + i]) }
      }
    }
  }

  /// Updates means and count by those of more patches.
  private mutating func take(count added: Int, leftMean meanLeft: [Double], rightMean meanRight: [Double]) {
    let share = Double(added) / Double(count + added)
    for i in 0..<left { leftMean[i] += (meanLeft[i] - leftMean[i]) * share }
    for j in 0..<right { rightMean[j] += (meanRight[j] - rightMean[j]) * share }
    count += added
  }

  /// scatter += aᵀ b in tiles, products in single precision, sums in double. Before the first there are no sums.
  private mutating func addProduct(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rows: Int) throws(CetError) {
    let size = MomentState.tile
    let product = try FloatBuffer(min(left, size) * min(right, size), arena: arena)
    let sum = try scatter.writable()
    for i in stride(from: 0, to: left, by: size) {
      let height = min(size, left - i)
      for j in stride(from: 0, to: symmetric ? i + 1 : right, by: size) {
        let width = min(size, right - j)
        let diagonal = symmetric && i == j
        if diagonal {
          try LinearAlgebra.ssyrk(b + j, rows: rows, columns: width, stride: right, beta: 0, into: product.pointer)
        } else {
          try LinearAlgebra.sgemm(
            a + i, .transposed, stride: left, b + j, .plain, stride: right,
            into: product.pointer, stride: width, m: height, n: width, k: rows)
        }
        for r in 0..<height {
          let (from, to, length) = (product.pointer + r * width, sum + (i + r) * right + j, diagonal ? r + 1 : width)
          if count == 0 { ck_widen_f32(from, to, length) } else { ck_accumulate_wide_f32(from, to, length) }
        }
      }
    }
  }
}

/// Uninitialised numbers with the semantics of an array: who writes to them has them alone.
private struct Sums: @unchecked Sendable {
  private var storage: Storage
  private let arena: Arena?

  init(_ count: Int, _ arena: Arena?) throws(CetError) {
    self.arena = arena
    storage = try arena.storage(byteCount: count * MemoryLayout<Double>.stride)
  }

  var pointer: UnsafePointer<Double> { UnsafePointer(storage.pointer.assumingMemoryBound(to: Double.self)) }

  mutating func writable() throws(CetError) -> UnsafeMutablePointer<Double> {
    if !isKnownUniquelyReferenced(&storage) {
      let copy = try arena.storage(byteCount: storage.byteCount)
      copy.pointer.copyMemory(from: storage.pointer, byteCount: storage.byteCount)
      storage = copy
    }
    return storage.pointer.assumingMemoryBound(to: Double.self)
  }
}
