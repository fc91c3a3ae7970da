import CKernels
import COpenBLAS

/// ONNX MatMul: matrices in the last two axes, leading axes broadcast.
public enum Matmul {
  /// op(a) op(b) + addingTo, row-major; `transposed` swaps the last two axes of that operand.
  /// float32, float64, int32, int64, uint32 and uint64 (integers wrap). `addingTo` has the result's shape and
  /// its memory may be overwritten or returned.
  public static func multiply(
    _ a: Tensor, transposed transposeA: Bool = false, _ b: Tensor, transposed transposeB: Bool = false,
    addingTo: Tensor? = nil, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    guard a.rank >= 2, b.rank >= 2, a.type == b.type else {
      throw CetError(
        .shapeMismatch,
        "matmul: expected two matrices of one type, got \(a.type) \(a.shape.shapeText) and \(b.type) \(b.shape.shapeText)")
    }
    var (m, k) = (a.shape[a.rank - 2], a.shape[a.rank - 1])
    if transposeA { swap(&m, &k) }
    var (inner, n) = (b.shape[b.rank - 2], b.shape[b.rank - 1])
    if transposeB { swap(&inner, &n) }
    let leadingA = Array(a.shape.dropLast(2))
    let leadingB = Array(b.shape.dropLast(2))
    guard inner == k, let leading = broadcastShape(leadingA, leadingB) else {
      throw CetError(
        .shapeMismatch,
        "matmul: shapes \(a.shape.shapeText)\(transposeA ? "ᵀ" : "") and \(b.shape.shapeText)\(transposeB ? "ᵀ" : "") do not fit")
    }
    let shape = leading + [m, n]
    try addingTo?.require(shape, type: a.type, "matmul addend")
    let a = try a.rowMajor(arena: context.arena)
    let b = try b.rowMajor(arena: context.arena)
    let sum = try addingTo?.writable(.rowMajor, operands: [a, b], context)
    if sum == nil && k == 0 { return try .zeros(a.type, shape, arena: context.arena) }
    let result = try sum.or(Tensor(uninitialized: a.type, shape, arena: context.arena))
    guard result.count > 0, k > 0 else { return result }

    var job = Product(
      m: m, n: n, k: k, transposeA: transposeA, transposeB: transposeB, accumulate: sum != nil,
      batches: Batches(leading: leading, a: leadingA, b: leadingB))
    if !transposeA && leadingB.allSatisfy({ $0 == 1 }) && leadingA.elementCount == leading.elementCount {
      job.m *= leading.elementCount
      job.batches = Batches(leading: [], a: [], b: [])
    }
    switch a.type {
    case .float32: try multiplyFloats(job, a, b, result, context)
    case .float64: try multiplyDoubles(job, a, b, result, context)
    case .int32: try multiplyIntegers(job, a.elements(as: Int32.self), b.elements(), result.elements(), context)
    case .int64: try multiplyIntegers(job, a.elements(as: Int64.self), b.elements(), result.elements(), context)
    case .uint32: try multiplyIntegers(job, a.elements(as: UInt32.self), b.elements(), result.elements(), context)
    case .uint64: try multiplyIntegers(job, a.elements(as: UInt64.self), b.elements(), result.elements(), context)
    default: throw CetError(.invalidArgument, "matmul: element type \(a.type) is not supported")
    }
    return result
  }

  fileprivate struct Product {
    var m: Int
    var n: Int
    var k: Int
    var transposeA: Bool
    var transposeB: Bool
    var accumulate: Bool
    var batches: Batches
  }

  /// Blocks of a product (rows, columns) between which the call may end; all of a usual one is one.
  private static func forEachBlock(
    _ job: Product, _ context: ComputeContext, _ body: (Range<Int>, Range<Int>) throws(CetError) -> Void
  ) throws(CetError) {
    let columns = max(256, ComputeContext.productSize / Int.saturatingProduct(job.k, min(job.m, 256)) & ~255)
    try context.pieces(job.n, of: columns) { columns throws(CetError) in
      let rows = max(64, ComputeContext.productSize / Int.saturatingProduct(job.k, columns.count) & ~63)
      try context.pieces(job.m, of: rows) { rows throws(CetError) in try body(rows, columns) }
    }
  }

  private static func multiplyFloats(
    _ job: Product, _ a: Tensor, _ b: Tensor, _ result: Tensor, _ context: ComputeContext
  ) throws(CetError) {
    let (m, n, k) = (job.m, job.n, job.k)
    // Below this size a library call costs more than the product.
    let tiny = m <= 32 && n <= 32 && k <= 32 && m * n * k <= 8192
    var batches = job.batches
    var work = 0
    while let (offsetA, offsetB, index) = batches.next() {
      try look(job, &work, context)
      let x = a.floats + offsetA * m * k
      let y = b.floats + offsetB * k * n
      let z = result.floats + index * m * n
      if tiny {
        ck_small_matmul_f32(job.accumulate, x, job.transposeA, y, job.transposeB, z, m, n, k)
      } else {
        try forEachBlock(job, context) { rows, columns throws(CetError) in
          try SingleMatrix.multiply(
            x + rows.lowerBound * (job.transposeA ? 1 : k), stride: job.transposeA ? m : k, transposed: job.transposeA,
            y + columns.lowerBound * (job.transposeB ? k : 1), stride: job.transposeB ? k : n, transposed: job.transposeB,
            into: z + rows.lowerBound * n + columns.lowerBound, stride: n, beta: job.accumulate ? 1 : 0, rows.count, columns.count, k)
        }
      }
    }
  }

  /// Before one of many products: ends the call where it is to end.
  private static func look(_ job: Product, _ work: inout Int, _ context: ComputeContext) throws(CetError) {
    if work > ComputeContext.productSize {
      work = 0
      try context.interruption.check()
    }
    // A call of its own costs as much as some thousand multiplications.
    work = Int.saturatingSum(work, max(1 << 14, Int.saturatingProduct(job.m, Int.saturatingProduct(job.n, job.k))))
  }

  private static func multiplyDoubles(
    _ job: Product, _ a: Tensor, _ b: Tensor, _ result: Tensor, _ context: ComputeContext
  ) throws(CetError) {
    let (m, n, k) = try (blasSize(job.m), blasSize(job.n), blasSize(job.k))
    let (x, y, z) = (a.elements(as: Double.self), b.elements(as: Double.self), result.elements(as: Double.self))
    var batches = job.batches
    var work = 0
    while let (offsetA, offsetB, index) = batches.next() {
      try look(job, &work, context)
      try forEachBlock(job, context) { rows, columns throws(CetError) in
        try OpenBLASCall.run {
          cblas_dgemm(
            CblasRowMajor, job.transposeA ? CblasTrans : CblasNoTrans, job.transposeB ? CblasTrans : CblasNoTrans,
            Int32(rows.count), Int32(columns.count), k, 1,
            x + offsetA * job.m * job.k + rows.lowerBound * (job.transposeA ? 1 : job.k), job.transposeA ? m : k,
            y + offsetB * job.k * job.n + columns.lowerBound * (job.transposeB ? job.k : 1), job.transposeB ? k : n,
            job.accumulate ? 1 : 0, z + index * job.m * job.n + rows.lowerBound * job.n + columns.lowerBound, n)
        }
      }
    }
  }

  private static func multiplyIntegers<Integer: FixedWidthInteger>(
    _ job: Product, _ a: UnsafeMutablePointer<Integer>, _ b: UnsafeMutablePointer<Integer>,
    _ result: UnsafeMutablePointer<Integer>, _ context: ComputeContext
  ) throws(CetError) {
    let (m, n, k) = (job.m, job.n, job.k)
    let (rowA, columnA) = job.transposeA ? (1, m) : (k, 1)
    let (rowB, columnB) = job.transposeB ? (1, k) : (n, 1)
    var batches = job.batches
    var work = 0
    while let (offsetA, offsetB, index) = batches.next() {
      try look(job, &work, context)
      let x = a + offsetA * m * k
      let y = b + offsetB * k * n
      let z = result + index * m * n
      if !job.accumulate { z.update(repeating: 0, count: m * n) }
      // Some twenty times slower than floats.
      try context.pieces(m, of: max(1, ComputeContext.productSize / 64 / Int.saturatingProduct(n, k))) { rows in
        for i in rows {
          for l in 0..<k {
            let value = x[i * rowA + l * columnA]
            for j in 0..<n { z[i * n + j] &+= value &* y[l * rowB + j * columnB] }
          }
        }
      }
    }
  }
}

/// One row-major float32 matrix product on the calling thread, with row strides: c = op(a) op(b) + beta c.
enum SingleMatrix {
  static func multiply(
    _ a: UnsafePointer<Float>, stride strideA: Int, transposed transposeA: Bool, _ b: UnsafePointer<Float>,
    stride strideB: Int, transposed transposeB: Bool, into c: UnsafeMutablePointer<Float>, stride strideC: Int,
    beta: Float, _ m: Int, _ n: Int, _ k: Int
  ) throws(CetError) {
    #if CET_ONEDNN
      try OneDNN.multiply(
        a, stride: strideA, transposed: transposeA, b, stride: strideB, transposed: transposeB, into: c,
        stride: strideC, beta: beta, m, n, k)
    #else
      let (rows, columns, depth) = try (blasSize(m), blasSize(n), blasSize(k))
      let (stepA, stepB, stepC) = try (blasSize(strideA), blasSize(strideB), blasSize(strideC))
      try OpenBLASCall.run {
        cblas_sgemm(
          CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, rows,
          columns, depth, 1, a, stepA, b, stepB, beta, c, stepC)
      }
    #endif
  }
}

/// OpenBLAS counts in 32 bits.
func blasSize(_ size: Int) throws(CetError) -> Int32 {
  guard let value = Int32(exactly: size) else {
    throw CetError(.shapeMismatch, "matrix size \(size) is too large for OpenBLAS")
  }
  return value
}

/// Walks the broadcast leading axes in C order: for every result matrix the index of its operands' matrices.
private struct Batches {
  private let sizes: [Int]
  private let stepsA: [Int]
  private let stepsB: [Int]
  private let count: Int
  private var position: [Int]
  private var index = 0
  private var offsetA = 0
  private var offsetB = 0

  init(leading: [Int], a: [Int], b: [Int]) {
    func steps(_ shape: [Int]) -> [Int] {
      let strides = shape.rowMajorStrides
      let missing = leading.count - shape.count
      return leading.indices.map { $0 < missing || shape[$0 - missing] == 1 ? 0 : strides[$0 - missing] }
    }
    sizes = leading
    stepsA = steps(a)
    stepsB = steps(b)
    count = leading.elementCount
    position = [Int](repeating: 0, count: leading.count)
  }

  mutating func next() -> (a: Int, b: Int, index: Int)? {
    guard index < count else { return nil }
    defer { advance() }
    return (offsetA, offsetB, index)
  }

  private mutating func advance() {
    index += 1
    for axis in sizes.indices.reversed() {
      position[axis] += 1
      offsetA += stepsA[axis]
      offsetB += stepsB[axis]
      if position[axis] < sizes[axis] { return }
      offsetA -= stepsA[axis] * sizes[axis]
      offsetB -= stepsB[axis] * sizes[axis]
      position[axis] = 0
    }
  }
}
