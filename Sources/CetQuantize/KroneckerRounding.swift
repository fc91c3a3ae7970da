import CKernels
import CetTensor

extension Rounding {
  /// Step 3: coordinate descent on tr(G D H Dᵀ), D = Q(W) − target, H = C + λI of `factor`, with scales and
  /// zero points held; the trace never rises. `outputCurvature` is G, rows × rows, row-major, symmetric
  /// positive semidefinite: the mean over samples and positions of g gᵀ, g the gradient of the loss with
  /// respect to the layer's output (K-FAC's factors, arXiv 1503.05671). `relativeDamping` · mean diag G is added.
  ///
  /// A = G D H is never formed as a whole: in the row that is swept A_o = (rows other than o, constant) +
  /// G_oo (D H)_o, so one changed code costs one row of H instead of a matrix.
  public static func kronecker(
    _ matrix: QuantizedMatrix, target: WeightMatrix, factor: CurvatureFactor, outputCurvature: [Double],
    relativeDamping: Double = 0.05, sweeps: Int = 3
  ) throws -> QuantizedMatrix {
    try check(target, matrix.grid)
    try target.checkFinite()
    let (rows, columns) = (matrix.rows, matrix.columns)
    guard factor.dimension == columns else {
      throw CetError(.shapeMismatch, "weights with \(columns) columns got a covariance of dimension \(factor.dimension)")
    }
    guard outputCurvature.count == rows * rows else {
      throw CetError(.shapeMismatch, "an output curvature of dimension \(rows) got \(outputCurvature.count) values")
    }
    guard rows > 0, columns > 0 else { return matrix }
    let g = try normalizedCurvature(outputCurvature, rows, relativeDamping)
    let state = try KroneckerState(matrix, target, factor)

    // Rows that change inside a run reach the later ones of the run one by one, all others by one product.
    let run = 32
    let base = try FloatBuffer(run * columns)
    let before = try FloatBuffer(run * columns)
    for _ in 0..<sweeps {
      var changed = 0
      for first in Swift.stride(from: 0, to: rows, by: run) {
        let count = min(run, rows - first)
        try LinearAlgebra.sgemm(
          g.pointer + first * rows, .plain, stride: rows, state.residual.pointer, .plain, stride: columns,
          into: base.pointer, stride: columns, m: count, n: columns, k: rows)
        before.pointer.update(from: state.residual.pointer + first * columns, count: count * columns)
        for i in 0..<count {
          let row = first + i
          let own = g.pointer[row * rows + row]
          let other = base.pointer + i * columns
          ck_axpy(-own, state.residual.pointer + row * columns, other, columns)
          let flips = state.sweep(row, other: other, weight: own)
          guard flips > 0 else { continue }
          changed += flips
          // What the row's change adds to A in the rest of the run.
          let difference = before.pointer + i * columns
          for j in 0..<columns { difference[j] = state.residual.pointer[row * columns + j] - difference[j] }
          for later in (i + 1)..<max(count, i + 1) {
            ck_axpy(g.pointer[row * rows + first + later], difference, base.pointer + later * columns, columns)
          }
        }
      }
      if Double(changed) < 0.001 * Double(rows * columns) { break }
    }
    return QuantizedMatrix(unchecked: matrix.grid, codes: state.codes())
  }

  /// tr(G D C Dᵀ) in double, D = Q(W) − target: what Step 3 lowers when C and G are the damped ones.
  public static func kroneckerError(
    _ matrix: QuantizedMatrix, target: WeightMatrix, covariance: [Double], outputCurvature: [Double]
  ) throws -> Double {
    try check(target, matrix.grid)
    let (rows, columns) = (matrix.rows, matrix.columns)
    let d = zip(matrix.dequantize(), target.values).map { Double($0) - Double($1) }
    let dc = try LinearAlgebra.product(d, covariance, m: rows, k: columns, n: columns)
    let gd = try LinearAlgebra.product(outputCurvature, d, m: rows, k: rows, n: columns)
    return zip(dc, gd).reduce(0) { $0 + $1.0 * $1.1 }
  }

  /// (G + damping) / mean diag G as floats; the identity when G is zero.
  private static func normalizedCurvature(_ g: [Double], _ n: Int, _ relativeDamping: Double) throws -> FloatBuffer {
    guard relativeDamping > 0, relativeDamping.isFinite else {
      throw CetError(.invalidArgument, "damping must be positive and finite, got \(relativeDamping)")
    }
    var trace = 0.0
    for i in 0..<n { trace += max(g[i * n + i], 0) }
    let unit = trace / Double(n)
    let result = try FloatBuffer(n * n)
    for i in 0..<n {
      for j in 0..<n {
        let value = unit > 0 ? g[i * n + j] / unit : 0
        guard value.isFinite, unit.isFinite, g[i * n + j].isFinite else {
          throw CetError(.numeric, "the output curvature holds a value that is not finite")
        }
        result.pointer[i * n + j] = Float(i == j ? max(value, 0) + (unit > 0 ? relativeDamping : 1) : value)
      }
    }
    return result
  }
}

/// Levels and D H of all rows, columns in the factor's order.
private final class KroneckerState {
  private let matrix: QuantizedMatrix
  private let factor: CurvatureFactor
  private let blockOfColumn: [Int32]
  private let level: FloatBuffer
  let residual: FloatBuffer
  private let scale: FloatBuffer  // [rows][blocks]
  private let lo: FloatBuffer
  private let hi: FloatBuffer

  init(_ matrix: QuantizedMatrix, _ target: WeightMatrix, _ factor: CurvatureFactor) throws {
    self.matrix = matrix
    self.factor = factor
    let (rows, columns, grid) = (matrix.rows, matrix.columns, matrix.grid)
    let blocks = grid.blocksPerRow
    let size = grid.blockSize
    blockOfColumn = factor.order.map { Int32($0 / size) }
    level = try FloatBuffer(rows * columns)
    residual = try FloatBuffer(rows * columns)
    scale = try FloatBuffer(rows * blocks)
    lo = try FloatBuffer(rows * blocks)
    hi = try FloatBuffer(rows * blocks)
    let d = try FloatBuffer(rows * columns)
    for row in 0..<rows {
      for block in 0..<blocks {
        let index = grid.index(row: row, block: block)
        scale.pointer[row * blocks + block] = grid.scales[index]
        lo.pointer[row * blocks + block] = -Float(grid.zeroPoints[index])
        hi.pointer[row * blocks + block] = Float(grid.highestCode) - Float(grid.zeroPoints[index])
      }
      for (position, column) in factor.order.enumerated() {
        let block = row * blocks + column / size
        let value = Float(matrix.codes[row * columns + column]) + lo.pointer[block]
        level.pointer[row * columns + position] = value
        d.pointer[row * columns + position] = value * scale.pointer[block] - target.values[row * columns + column]
      }
    }
    try LinearAlgebra.sgemm(
      d.pointer, .plain, stride: columns, factor.h.pointer, .plain, stride: columns, into: residual.pointer,
      stride: columns, m: rows, n: columns, k: columns)
  }

  func sweep(_ row: Int, other: UnsafePointer<Float>, weight: Float) -> Int {
    let columns = matrix.columns
    let grid = row * matrix.grid.blocksPerRow
    return blockOfColumn.withUnsafeBufferPointer { block in
      guard let block = block.baseAddress else { return 0 }
      return ck_kronecker_row(
        level.pointer + row * columns, residual.pointer + row * columns, other, weight, factor.h.pointer,
        factor.inverseDiagonal.pointer, scale.pointer + grid, lo.pointer + grid, hi.pointer + grid, block, columns)
    }
  }

  func codes() -> [UInt8] {
    var result = matrix.codes
    let columns = matrix.columns
    let blocks = matrix.grid.blocksPerRow
    for row in 0..<matrix.rows {
      for (position, column) in factor.order.enumerated() {
        let code = level.pointer[row * columns + position] - lo.pointer[row * blocks + Int(blockOfColumn[position])]
        result[row * columns + column] = UInt8(min(max(code, 0), Float(matrix.grid.highestCode)))
      }
    }
    return result
  }
}
