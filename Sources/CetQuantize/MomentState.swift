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
  private(set) var scatter: [Double]
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

  init(left: Int, right: Int, symmetric: Bool, hasLeftSquares: Bool = false) {
    self.left = left
    self.right = right
    self.symmetric = symmetric
    leftSquares = [Double](repeating: 0, count: hasLeftSquares ? left : 0)
    leftMean = [Double](repeating: 0, count: left)
    rightMean = [Double](repeating: 0, count: right)
    scatter = [Double](repeating: 0, count: left * right)
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
    combine(count: other.count, leftMean: other.leftMean, rightMean: other.rightMean)
    for i in leftSquares.indices { leftSquares[i] += other.leftSquares[i] }
    scatter.withUnsafeMutableBufferPointer { sum in
      other.scatter.withUnsafeBufferPointer { x in
        if let sum = sum.baseAddress, let x = x.baseAddress { ck_accumulate_f64(x, sum, left * right) }
      }
    }
  }

  func covariance(centred: Bool) -> [Double] {
    let n = Double(max(count, 1))
    return [Double](unsafeUninitializedCapacity: left * right) { target, filled in
      for i in 0..<left {
        for j in 0..<(symmetric ? i + 1 : right) {
          let value = scatter[i * right + j] / n + (centred ? 0 : leftMean[i] * rightMean[j])
          target[i * right + j] = value
          if symmetric { target[j * right + i] = value }
        }
      }
      filled = left * right
    }
  }

  /// One chunk: its means, its centred product, and the pairwise update.
  private mutating func addChunk(
    _ a: UnsafePointer<Float>, _ leftStride: Int, _ b: UnsafePointer<Float>, _ rightStride: Int, rows: Int
  ) throws(CetError) {
    let columns = try ColumnMeans.centred(b, rows: rows, columns: right, stride: rightStride)
    let lines = symmetric ? columns : try ColumnMeans.centred(a, rows: rows, columns: left, stride: leftStride)
    combine(count: rows, leftMean: lines.mean, rightMean: columns.mean)
    try withExtendedLifetime((lines, columns)) { () throws(CetError) in
      if !leftSquares.isEmpty { addSquares(lines.values.pointer, rows: rows) }
      try addProduct(lines.values.pointer, columns.values.pointer, rows: rows)
    }
  }

  private mutating func addSquares(_ lines: UnsafePointer<Float>, rows: Int) {
    leftSquares.withUnsafeMutableBufferPointer { sums in
      for row in 0..<rows {
        for i in 0..<left { sums[i] += Double(lines[row * left + i]) * Double(lines[row * left + i]) }
      }
    }
  }

  /// Adds to `scatter` the term of the two means, and updates means and count.
  private mutating func combine(count added: Int, leftMean meanLeft: [Double], rightMean meanRight: [Double]) {
    guard added > 0 else { return }
    let (n, m) = (Double(count), Double(added))
    let total = n + m
    if count > 0 {
      let d = (0..<right).map { meanRight[$0] - rightMean[$0] }
      scatter.withUnsafeMutableBufferPointer { sum in
        guard let sum = sum.baseAddress else { return }
        d.withUnsafeBufferPointer { d in
          guard let d = d.baseAddress else { return }
          for i in 0..<left {
            ck_axpy_f64((meanLeft[i] - leftMean[i]) * n * m / total, d, sum + i * right, symmetric ? i + 1 : right)
          }
        }
      }
    }
    for i in leftSquares.indices { leftSquares[i] += (meanLeft[i] - leftMean[i]) * (meanLeft[i] - leftMean[i]) * n * m / total }
    for i in 0..<left { leftMean[i] += (meanLeft[i] - leftMean[i]) * m / total }
    for j in 0..<right { rightMean[j] += (meanRight[j] - rightMean[j]) * m / total }
    count += added
  }

  /// scatter += aᵀ b in tiles, products in single precision, sums in double.
  private mutating func addProduct(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rows: Int) throws(CetError) {
    let size = MomentState.tile
    let product = try FloatBuffer(min(left, size) * min(right, size))
    try scatter.withUnsafeMutableBufferPointer { sum throws(CetError) in
      guard let sum = sum.baseAddress else { return }
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
            ck_accumulate_wide_f32(product.pointer + r * width, sum + (i + r) * right + j, diagonal ? r + 1 : width)
          }
        }
      }
    }
  }
}
