import CKernels
import CetTensor

/// Some rows of one weight matrix while they are rounded, each from several starting scales at once: lane
/// (start · rows + row). A level is a code minus its zero point. Columns are in the factor's order.
///
/// Invariant after `residual()`: r = (Q(W) − W) H for every live lane.
final class RowBlock {
  let factor: CurvatureFactor
  let firstRow: Int
  let rows: Int
  /// Lanes that count; `stride` rounds them up to whole vectors for the transposed kernels.
  private(set) var lanes: Int
  let stride: Int
  /// Starts of each row that are left after Step 1.
  private let survivors: Int
  let columns: Int
  private let blocks: Int
  private let blockOfColumn: [Int32]
  private let highest: Float
  private let operands: FloatBuffer  // [rows + lanes][columns], W above Q(W) − W
  private let products: FloatBuffer  // [rows + lanes][columns], W H above r
  let scale: FloatBuffer  // [blocks][stride]
  private let lo: FloatBuffer  // [blocks][stride], −zero point
  private let hi: FloatBuffer  // [blocks][stride]
  let level: FloatBuffer  // [lanes][columns]
  private let scratch: FloatBuffer  // [columns][stride]

  init(
    weights: UnsafePointer<Float>, firstRow: Int, rows: Int, grid: AffineGrid, factor: CurvatureFactor, starts: [Float],
    survivors: Int = .max
  ) throws(CetError) {
    let columns = factor.dimension
    let blocks = grid.blocksPerRow
    let lanes = rows * starts.count
    let stride = (lanes + 15) / 16 * 16
    self.factor = factor
    self.firstRow = firstRow
    self.rows = rows
    self.lanes = lanes
    self.survivors = max(1, min(survivors, starts.count))
    self.stride = stride
    self.columns = columns
    self.blocks = blocks
    let size = grid.blockSize
    blockOfColumn = factor.order.map { Int32($0 / size) }
    highest = Float(grid.highestCode)
    operands = try FloatBuffer(rows * (1 + self.survivors) * columns)
    products = try FloatBuffer(rows * (1 + self.survivors) * columns)
    scale = try FloatBuffer(blocks * stride)
    lo = try FloatBuffer(blocks * stride)
    hi = try FloatBuffer(blocks * stride)
    level = try FloatBuffer(rows * self.survivors * columns)
    scratch = try FloatBuffer(columns * stride)
    for row in 0..<rows {
      let source = weights + (firstRow + row) * columns
      for (position, column) in factor.order.enumerated() { w[row * columns + position] = source[column] }
    }
    factor.walk?.rotate(w, count: rows * columns)
    for block in 0..<blocks {
      for lane in 0..<stride {
        let live = lane < lanes ? lane : 0  // padding repeats the first lane
        let index = grid.index(row: firstRow + live % rows, block: block)
        let zero = grid.zero(index)
        scale.pointer[block * stride + lane] = grid.scales[index] * starts[live / rows]
        lo.pointer[block * stride + lane] = -zero
        hi.pointer[block * stride + lane] = highest - zero
      }
    }
  }

  /// Step 1 for every lane. Panels of columns are rounded one column at a time; their errors reach the later
  /// columns by one product per panel (GPTQ's lazy batch updates). Of each row the starts of least d H dᵀ survive, which is
  /// the sum of what each column adds.
  func gptq() throws(CetError) {
    let transposed = scratch
    let given = try FloatBuffer(columns * stride)
    for column in 0..<columns {
      let target = given.pointer + column * stride
      for lane in 0..<stride { target[lane] = w[(lane < lanes ? lane % rows : 0) * columns + column] }
    }
    transposed.pointer.update(from: given.pointer, count: columns * stride)
    let panel = 64
    let errors = try FloatBuffer(min(panel, columns) * stride)
    var sums = [Double](repeating: 0, count: stride)
    try blockOfColumn.withUnsafeBufferPointer { block throws(CetError) in
      guard let block = block.baseAddress else { return }
      for start in Swift.stride(from: 0, to: columns, by: panel) {
        let width = min(panel, columns - start)
        let values = transposed.pointer + start * stride
        ck_gptq_panel(
          given.pointer + start * stride, values, factor.feedback.pointer + start * columns + start, columns, scale.pointer,
          lo.pointer, hi.pointer, block + start, values, errors.pointer, &sums, width, stride)
        // What the later columns take of the panel's errors.
        let rest = columns - start - width
        if rest > 0 {
          try LinearAlgebra.sgemm(
            factor.feedback.pointer + (start + width) * columns + start, .plain, stride: columns,
            errors.pointer, .plain, stride: stride, into: values + width * stride, stride: stride,
            m: rest, n: stride, k: width, beta: 1)
        }
      }
    }
    keepSurvivors(sums)
  }

  /// Moves the levels of the best starts from the transposed scratch to `level`, and closes the gaps in `scale`.
  private func keepSurvivors(_ sums: [Double]) {
    var sources = [Int](repeating: 0, count: rows * survivors)
    for row in 0..<rows {
      let starts = 0..<(lanes / rows)
      let best = starts.sorted { (sums[$0 * rows + row], $0) < (sums[$1 * rows + row], $1) }.prefix(survivors).sorted()
      for (slot, start) in best.enumerated() { sources[slot * rows + row] = start * rows + row }
    }
    lanes = rows * survivors
    for column in 0..<columns {
      let source = scratch.pointer + column * stride
      for lane in 0..<lanes { level.pointer[lane * columns + column] = source[sources[lane]] }
    }
    for block in 0..<blocks {
      // A slot never comes after the start it takes: nothing is overwritten before it is read.
      let row = scale.pointer + block * stride
      for lane in 0..<lanes { row[lane] = row[sources[lane]] }
    }
  }

  private var w: UnsafeMutablePointer<Float> { operands.pointer }
  private var wh: UnsafeMutablePointer<Float> { products.pointer }
  private var r: UnsafeMutablePointer<Float> { products.pointer + rows * columns }

  /// A lane's weights, in the factor's order.
  func weights(_ lane: Int) -> UnsafePointer<Float> { UnsafePointer(w) + lane % rows * columns }

  /// A lane's scale at a column of the factor's order.
  func scale(_ lane: Int, _ column: Int) -> Float { scale.pointer[Int(blockOfColumn[column]) * stride + lane] }

  /// W H and r = (Q(W) − W) H: one product, because arranging H for it takes as long as multiplying some ten rows.
  func residual() throws(CetError) {
    guard !factor.isIdentity else {
      wh.update(from: w, count: rows * columns)
      for lane in 0..<lanes { writeError(lane, into: r + lane * columns) }
      return
    }
    for lane in 0..<lanes { writeError(lane, into: w + (rows + lane) * columns) }
    try LinearAlgebra.sgemm(
      w, .plain, stride: columns, factor.h.pointer, .plain, stride: columns,
      into: wh, stride: columns, m: rows + lanes, n: columns, k: columns)
  }

  /// One pass of Step 2 over all columns; the fraction of codes that changed.
  func sweep() -> Double {
    let changed = blockOfColumn.withUnsafeBufferPointer { block in
      block.baseAddress.map {
        ck_coordinate_sweep(
          factor.h.pointer, factor.inverseDiagonal.pointer, scale.pointer, lo.pointer, hi.pointer, stride, $0,
          level.pointer, r, lanes, columns)
      } ?? 0
    }
    return Double(changed) / Double(max(lanes * columns, 1))
  }

  /// Least squares in the scales with the levels held: s = ⟨W H, v⟩ / ⟨v H, v⟩, kept when that is not positive.
  func refit() throws(CetError) {
    if blocks > 1 { return try refitBlocks() }
    for lane in 0..<lanes {
      let (a, c) = scaleMoments(lane)
      multiplyScale(lane, by: Float(a / (a + c)))
    }
  }

  /// ⟨W H, v⟩ and ⟨(Q(W) − W) H, v⟩ of a lane with one scale: their sum is s ⟨v H, v⟩.
  func scaleMoments(_ lane: Int) -> (Double, Double) {
    (
      ck_dot_f32(wh + lane % rows * columns, level.pointer + lane * columns, columns),
      ck_dot_f32(r + lane * columns, level.pointer + lane * columns, columns)
    )
  }

  /// Replaces a lane's only scale s by f s: r = (f s v − W) H = f r + (f − 1) W H.
  func multiplyScale(_ lane: Int, by f: Float) {
    let scaled = scale.pointer[lane] * f
    guard f > 0, scaled.isFinite, scaled > ScaleSearch.smallestRange else { return }
    scale.pointer[lane] = scaled
    ck_rescale_residual(f, wh + lane % rows * columns, r + lane * columns, columns)
  }

  /// One block at a time with the others held: s ← s − ⟨r, v_B⟩ / ⟨v_B H, v_B⟩, r += Δs v_B H.
  private func refitBlocks() throws(CetError) {
    var positions = [[Int]](repeating: [], count: blocks)
    for (position, block) in blockOfColumn.enumerated() { positions[Int(block)].append(position) }
    let widest = positions.map(\.count).max() ?? 0
    guard !factor.isIdentity else { return refitBlocksAlone(positions) }
    let rowsOfH = try FloatBuffer(widest * columns)
    let levels = try FloatBuffer(lanes * widest)
    let product = scratch
    for block in 0..<blocks {
      let members = positions[block]
      let width = members.count
      guard width > 0 else { continue }
      for (i, position) in members.enumerated() {
        (rowsOfH.pointer + i * columns).update(from: factor.h.pointer + position * columns, count: columns)
        for lane in 0..<lanes { levels.pointer[lane * width + i] = level.pointer[lane * columns + position] }
      }
      try LinearAlgebra.sgemm(
        levels.pointer, .plain, stride: width, rowsOfH.pointer, .plain, stride: columns,
        into: product.pointer, stride: columns, m: lanes, n: columns, k: width)
      for lane in 0..<lanes {
        var slope = 0.0
        var curvature = 0.0
        for (i, position) in members.enumerated() {
          let v = Double(levels.pointer[lane * width + i])
          slope += v * Double(r[lane * columns + position])
          curvature += v * Double(product.pointer[lane * columns + position])
        }
        guard curvature > 0 else { continue }
        let old = scale.pointer[block * stride + lane]
        let new = old - Float(slope / curvature)
        guard new > ScaleSearch.smallestRange, new.isFinite else { continue }
        scale.pointer[block * stride + lane] = new
        ck_axpy_f32(new - old, product.pointer + lane * columns, r + lane * columns, columns)
      }
    }
  }

  /// `refitBlocks` for H = I: a block's scale changes its own columns alone.
  private func refitBlocksAlone(_ positions: [[Int]]) {
    for (block, members) in positions.enumerated() {
      for lane in 0..<lanes {
        let (level, r) = (level.pointer + lane * columns, r + lane * columns)
        var (slope, curvature) = (0.0, 0.0)
        for position in members {
          slope += Double(level[position]) * Double(r[position])
          curvature += Double(level[position]) * Double(level[position])
        }
        guard curvature > 0 else { continue }
        let old = scale.pointer[block * stride + lane]
        let new = old - Float(slope / curvature)
        guard new > ScaleSearch.smallestRange, new.isFinite else { continue }
        scale.pointer[block * stride + lane] = new
        for position in members { r[position] += (new - old) * level[position] }
      }
    }
  }

  /// d H dᵀ of a lane.
  func error(_ lane: Int) -> Double {
    let d = scratch.pointer
    writeError(lane, into: d)
    return ck_dot_f32(d, r + lane * columns, columns)
  }

  /// Keeps, for each row, the start of least d H dᵀ (the earliest of equals).
  func keepBestStart() {
    for row in 0..<rows {
      var best = row
      var least = Double.infinity
      for lane in Swift.stride(from: row, to: lanes, by: rows) {
        let value = error(lane)
        if value < least { (least, best) = (value, lane) }
      }
      guard best != row else { continue }
      (level.pointer + row * columns).update(from: level.pointer + best * columns, count: columns)
      (r + row * columns).update(from: r + best * columns, count: columns)
      for block in 0..<blocks { scale.pointer[block * stride + row] = scale.pointer[block * stride + best] }
    }
    lanes = rows
  }

  /// Leaves local minima of Step 2 by small random moves (`ck_perturbed_descent`). The moves of a row depend on its
  /// number alone.
  func perturb(kicks: Int) throws(CetError) {
    guard kicks > 0 else { return }
    let columnwise = try FloatBuffer(columns * 3)
    let work = try FloatBuffer(columns * 3)
    let (scales, lows, highs) = (columnwise.pointer, columnwise.pointer + columns, columnwise.pointer + 2 * columns)
    for row in 0..<rows {
      for column in 0..<columns {
        let entry = Int(blockOfColumn[column]) * stride + row
        scales[column] = scale.pointer[entry]
        lows[column] = lo.pointer[entry]
        highs[column] = hi.pointer[entry]
      }
      ck_perturbed_descent(
        kicks, UInt64(firstRow + row), blocks == 1, factor.h.pointer, factor.inverseDiagonal.pointer,
        w + row * columns, wh + row * columns, lows, highs, scales, level.pointer + row * columns,
        r + row * columns, columns, work.pointer)
      if blocks == 1 { scale.pointer[row] = scales[0] }
    }
    // Many small updates leave rounding errors behind.
    try residual()
    try refit()
  }

  /// Writes codes, scales and d C dᵀ of the first start's lanes to the matrix they belong to.
  /// - Parameter codes: [rows][columns]; nil: they are the levels above the zero points.
  func emit(_ output: RoundingOutput, codes: [UInt8]? = nil) {
    for row in 0..<rows {
      for (position, column) in factor.order.enumerated() {
        let target = (firstRow + row) * columns + column
        if let codes {
          output.codes[target] = codes[row * columns + position]
        } else {
          let code = level.pointer[row * columns + position] - lo.pointer[Int(blockOfColumn[position]) * stride + row]
          output.codes[target] = UInt8(min(max(code, 0), highest))
        }
      }
      output.errors[firstRow + row] = max(error(row), 0) * factor.unit
      if output.scaleStride > 0 {
        for block in 0..<blocks {
          output.scales[(firstRow + row) * output.scaleStride + block] = scale.pointer[block * stride + row]
        }
      }
    }
  }

  private func writeError(_ lane: Int, into d: UnsafeMutablePointer<Float>) {
    blockOfColumn.withUnsafeBufferPointer { block in
      guard let block = block.baseAddress else { return }
      ck_level_error(
        level.pointer + lane * columns, scale.pointer + lane, stride, block, w + lane % rows * columns, d,
        columns)
    }
  }
}

/// Where row blocks put their results; each writes its own rows only.
struct RoundingOutput {
  let codes: UnsafeMutablePointer<UInt8>
  let scales: UnsafeMutablePointer<Float>
  /// Scales per row; 0 when the one scale of the tensor is written by the driver.
  let scaleStride: Int
  let errors: UnsafeMutablePointer<Double>
}
