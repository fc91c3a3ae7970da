import CKernels
import CetTensor

/// How hard Steps 1 and 2 search.
public struct RoundingOptions: Sendable {
  /// Factors on the grid's scales to start from.
  public var starts: [Float]
  /// Starts per row that go on to coordinate descent, those of least error after GPTQ: four of nine lose at
  /// most 0.1 % of the error that all nine reach, in half the time. All of them go on where that is cheap (at
  /// most 64 columns) and with one scale per tensor.
  public var survivors: Int
  /// Coordinate descent sweeps from every surviving start.
  public var sweeps: Int
  /// Further sweeps of the start that won.
  public var finalSweeps: Int
  /// Random moves of a row after which coordinate descent runs again; a better result stays. 128 of them lower the
  /// error by a tenth. Not with one scale per tensor.
  public var kicks: Int
  /// Sweeping stops when a smaller fraction of the codes of a row block changed.
  public var smallestChange: Double

  public init(
    starts: [Float] = ScaleSearch.evenly(9, from: 0.55, to: 1.15), survivors: Int = 4, sweeps: Int = 3, finalSweeps: Int = 1,
    kicks: Int = 0, smallestChange: Double = 0.001
  ) {
    self.starts = starts
    self.survivors = survivors
    self.sweeps = sweeps
    self.finalSweeps = finalSweeps
    self.kicks = kicks
    self.smallestChange = smallestChange
  }
}

/// A rounded matrix and what rounding cost.
public struct RoundedMatrix: Sendable {
  public var matrix: QuantizedMatrix
  /// Per row d H dᵀ with d = Q(w) − w and H = C + λI, in units of the covariance: twice the quadratic loss of
  /// that output for unit output curvature, mean over patches.
  public var rowErrors: [Double]
}

/// Codes for a weight matrix.
public enum MatrixRounding {
  /// Each weight to its nearest code: q = clamp(round(w / s) + z, 0, 2^b − 1) (Eq. 2).
  /// - Parameter coding: what the grid's codes are called, `affine` or `symmetric`.
  public static func nearest(_ weights: WeightMatrix, grid: AffineGrid, coding: Coding = .affine) throws(CetError) -> QuantizedMatrix {
    try check(weights, grid)
    try weights.checkFinite()
    let columns = weights.columns
    var codes = [UInt8](repeating: 0, count: weights.values.count)
    var levels = [Float](repeating: 0, count: grid.blockSize)
    weights.values.withUnsafeBufferPointer { values in
      guard let values = values.baseAddress else { return }
      for row in 0..<weights.rows {
        for block in 0..<grid.blocksPerRow {
          let index = grid.index(row: row, block: block)
          let zero = grid.zero(index)
          let start = row * columns + block * grid.blockSize
          let count = min(grid.blockSize, columns - block * grid.blockSize)
          ck_round_levels(1 / grid.scales[index], -zero, Float(grid.highestCode) - zero, values + start, &levels, count)
          for i in 0..<count { codes[start + i] = UInt8(levels[i] + zero) }
        }
      }
    }
    return QuantizedMatrix(unchecked: grid, codes: codes, coding: coding)
  }

  /// `nearest`, and the squared error of every row.
  public static func nearestWithErrors(
    _ weights: WeightMatrix, grid: AffineGrid, coding: Coding = .affine
  ) throws(CetError) -> RoundedMatrix {
    let matrix = try nearest(weights, grid: grid, coding: coding)
    let values = matrix.dequantize()
    let columns = weights.columns
    let errors = (0..<weights.rows).map { row in
      (row * columns..<(row + 1) * columns).reduce(0.0) {
        let error = Double(values[$1]) - Double(weights.values[$1])
        return $0 + error * error
      }
    }
    return RoundedMatrix(matrix: matrix, rowErrors: errors)
  }

  /// Step 0, then `gptq` on that grid.
  public static func gptq(
    _ weights: WeightMatrix, bits: Int, granularity: Granularity, factor: CurvatureFactor,
    options: RoundingOptions = RoundingOptions(), workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> RoundedMatrix {
    let grid = try ScaleSearch.search(weights, bits: bits, granularity: granularity, workers: workers)
    return try gptq(weights, grid: grid, factors: [factor], options: options, workers: workers)
  }

  /// Steps 1 and 2 with multi-start: GPTQ (arXiv 2210.17323), coordinate descent on d H dᵀ with the scale
  /// refitted before every sweep, the best start per row (per matrix when there is one scale per tensor).
  /// Zero points stay the grid's.
  ///
  /// `factors` holds one factor per group of rows: group g is rows g · rows / groups onward (grouped and
  /// depthwise convolution: each group of output channels reads its own input channels).
  public static func gptq(
    _ weights: WeightMatrix, grid: AffineGrid, coding: Coding = .affine, factors: [CurvatureFactor],
    options: RoundingOptions = RoundingOptions(), workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> RoundedMatrix {
    guard !options.starts.isEmpty, options.starts.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw CetError(.invalidArgument, "rounding needs at least one positive start factor")
    }
    let survivors = weights.columns <= 64 ? .max : options.survivors
    return try rounded(weights, grid: grid, factors: factors, coding: coding, starts: options.starts, survivors: survivors) {
      tasks, make, output throws(CetError) in
      guard grid.granularity == .perTensor else {
        try forEachBatch(tasks, columns: weights.columns, workers) { task in
          try roundRows(try make(task, options.starts), options, output)
        }
        return
      }
      output.scales[0] = try roundWithOneScale(tasks, make, options, workers, output)
    }
  }

  /// Checks the arguments, and puts together what `run` does with the rows of all tasks.
  static func rounded(
    _ weights: WeightMatrix, grid: AffineGrid, factors: [CurvatureFactor], coding: Coding, walk: TrellisWalk = .straight,
    starts: [Float], survivors: Int,
    run: (_ tasks: [RowTask], _ make: (RowTask, _ starts: [Float]) throws(CetError) -> RowBlock, RoundingOutput) throws(CetError) -> Void
  ) throws(CetError) -> RoundedMatrix {
    try check(weights, grid)
    try weights.checkFinite()
    guard !factors.isEmpty, weights.rows % factors.count == 0 else {
      throw CetError(.shapeMismatch, "\(weights.rows) rows do not divide into \(factors.count) groups")
    }
    for factor in factors where factor.dimension != weights.columns {
      throw CetError(.shapeMismatch, "weights with \(weights.columns) columns got a covariance of dimension \(factor.dimension)")
    }
    var codes = [UInt8](repeating: 0, count: weights.values.count)
    var scales = grid.scales
    var errors = [Double](repeating: 0, count: weights.rows)
    let tasks = rowTasks(rows: weights.rows, groups: factors.count, starts: starts.count)
    try weights.values.withUnsafeBufferPointer { values throws(CetError) in
      try codes.withUnsafeMutableBufferPointer { codes throws(CetError) in
        try scales.withUnsafeMutableBufferPointer { scales throws(CetError) in
          try errors.withUnsafeMutableBufferPointer { errors throws(CetError) in
            guard let values = values.baseAddress, let codes = codes.baseAddress, let scales = scales.baseAddress,
              let errors = errors.baseAddress
            else { return }
            let output = RoundingOutput(
              codes: codes, scales: scales, scaleStride: grid.granularity == .perTensor ? 0 : grid.blocksPerRow, errors: errors)
            try run(
              tasks,
              { task, starts throws(CetError) in
                try RowBlock(
                  weights: values, firstRow: task.firstRow, rows: task.rows, grid: grid, factor: factors[task.group],
                  starts: starts, survivors: survivors)
              }, output)
          }
        }
      }
    }
    var result = grid
    result.scales = scales
    return RoundedMatrix(matrix: QuantizedMatrix(unchecked: result, codes: codes, coding: coding, walk: walk), rowErrors: errors)
  }

  private static func roundRows(_ block: RowBlock, _ options: RoundingOptions, _ output: RoundingOutput) throws(CetError) {
    try block.gptq()
    try block.residual()
    for _ in 0..<options.sweeps {
      try block.refit()
      if block.sweep() < options.smallestChange { break }
    }
    try block.refit()
    block.keepBestStart()
    for _ in 0..<options.finalSweeps {
      if block.sweep() == 0 { break }
      try block.refit()
    }
    try block.perturb(kicks: options.kicks)
    block.emit(output)
  }

  /// Rounding with one scale for all rows: every sweep of all row blocks is followed by one refit from sums
  /// taken in their order, and the start is chosen by the total. Returns the scale.
  private static func roundWithOneScale(
    _ tasks: [RowTask], _ make: (RowTask, [Float]) throws(CetError) -> RowBlock, _ options: RoundingOptions,
    _ workers: Workers, _ output: RoundingOutput
  ) throws(CetError) -> Float {
    var best: (error: Double, scale: Float, blocks: [RowBlock])?
    for start in options.starts {
      var blocks: [RowBlock] = []
      try workers.ordered(tasks.count) { task in
        let block = try make(tasks[task], [start])
        try block.gptq()
        try block.residual()
        return block
      } combine: { blocks.append($1) }
      let refit = {
        var (a, c) = (0.0, 0.0)
        for block in blocks {
          for lane in 0..<block.lanes {
            let moments = block.scaleMoments(lane)
            a += moments.0
            c += moments.1
          }
        }
        for block in blocks { for lane in 0..<block.lanes { block.multiplyScale(lane, by: Float(a / (a + c))) } }
      }
      refit()
      for _ in 0..<(options.sweeps + options.finalSweeps) {
        var changed = 0.0
        try workers.ordered(blocks.count) { blocks[$0].sweep() } combine: { changed += $1 * Double(blocks[$0].rows) }
        refit()
        let rows = blocks.reduce(0) { $0 + $1.rows }
        if changed < options.smallestChange * Double(rows) { break }
      }
      var error = 0.0
      for block in blocks {
        for lane in 0..<block.lanes { error += block.error(lane) * block.factor.unit }
      }
      if best == nil || error < best?.error ?? .infinity {
        best = (error, blocks.first?.scale.pointer[0] ?? 1, blocks)
      }
    }
    guard let best else { return 1 }
    for block in best.blocks { block.emit(output) }
    return best.scale
  }

  // MARK: tasks

  struct RowTask {
    let group: Int
    let firstRow: Int
    let rows: Int
  }

  /// Runs of rows of one group. Their size depends on the problem alone, so that the products have the same
  /// shapes, and the same bits, for any number of threads.
  private static func rowTasks(rows: Int, groups: Int, starts: Int) -> [RowTask] {
    let perTask = starts > 1 ? 16 : 32
    let perGroup = rows / max(groups, 1)
    var tasks: [RowTask] = []
    for group in 0..<groups {
      for first in Swift.stride(from: 0, to: perGroup, by: perTask) {
        tasks.append(RowTask(group: group, firstRow: group * perGroup + first, rows: min(perTask, perGroup - first)))
      }
    }
    return tasks
  }

  /// Small tasks are handed out in batches, and a small total stays on the calling thread: starting a thread
  /// costs more than rounding a few depthwise kernels.
  static func forEachBatch(
    _ tasks: [RowTask], columns: Int, _ workers: Workers, _ body: (RowTask) throws -> Void
  ) throws(CetError) {
    let cost = tasks.reduce(0) { $0 + $1.rows } * columns * columns
    let batch = max(1, min(tasks.count, 2_000_000 * tasks.count / max(cost, 1)))
    let batches = (tasks.count + batch - 1) / max(batch, 1)
    try workers.forEach(batches) { index in
      for task in tasks[(index * batch)..<min((index + 1) * batch, tasks.count)] { try body(task) }
    }
  }

  static func check(_ weights: WeightMatrix, _ grid: AffineGrid) throws(CetError) {
    guard weights.rows == grid.rows, weights.columns == grid.columns else {
      throw CetError(
        .shapeMismatch,
        "weights of shape \([weights.rows, weights.columns].shapeText) got a grid for \([grid.rows, grid.columns].shapeText)")
    }
  }
}
