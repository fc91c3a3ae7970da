import CetTensor

/// How hard trellis codes are searched for.
public struct TrellisOptions: Sendable, Equatable {
  /// Paths that live at a time: 1 … 128. Twice as many take twice the time; from 32 to 64 the error on a normal source falls
  /// by 2 % at 1 bit, 5 % at 3 bits, 10 % at 6 bits.
  public var paths: Int
  /// Paths that live at a time while scales are searched for.
  public var fewPaths: Int
  /// Factors on the root mean square of the weights to start from; one alone is started from without a search among them.
  public var starts: [Float]
  /// Searches at the scale that was found, each of which fits it again.
  public var rounds: Int

  public init(paths: Int = 32, fewPaths: Int = 8, starts: [Float] = [0.9, 1.05, 1.2], rounds: Int = 2) {
    self.paths = paths
    self.fewPaths = fewPaths
    self.starts = starts
    self.rounds = rounds
  }
}

extension MatrixRounding {
  /// Trellis codes of least d H dᵀ, d = Q(w) − w: the scale of each row or block starts from the root mean square of its
  /// weights and is fitted, s = ⟨W H, v⟩ / ⟨v H, v⟩, after each search.
  ///
  /// `factors` is as for `gptq`, all with their columns in the order of the same walk.
  public static func trellis(
    _ weights: WeightMatrix, bits: Int, code: TrellisCode, granularity: Granularity, factors: [CurvatureFactor],
    options: TrellisOptions = TrellisOptions(), workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> RoundedMatrix {
    guard TrellisCode.widths.contains(bits) else {
      throw CetError(.invalidArgument, "a trellis has codes of 1 to 6 bits, got \(bits)")
    }
    guard granularity != .perTensor else {
      throw CetError(.invalidArgument, "trellis codes need a scale for each row at least")
    }
    guard (1...TrellisBlock.mostPaths).contains(options.paths), options.fewPaths >= 1, options.rounds >= 1,
      !options.starts.isEmpty, options.starts.allSatisfy({ $0 > 0 && $0.isFinite })
    else { throw CetError(.invalidArgument, "a trellis search needs 1 to \(TrellisBlock.mostPaths) paths, a round and a start") }
    guard let walk = factors.first?.walk, factors.allSatisfy({ $0.walk == walk }) else {
      throw CetError(.invalidArgument, "trellis codes need factors in the order of their steps")
    }
    guard granularity == .perAxis || walk.rotation == 1 else {
      throw CetError(.invalidArgument, "weights that are rotated need one scale for each row")
    }
    try weights.checkFinite()
    let grid = try meanSquareGrid(weights, bits: bits, granularity: granularity)
    let values = try TrellisValues(code, bits: bits)
    return try rounded(weights, grid: grid, factors: factors, coding: .trellis(code), walk: walk, starts: options.starts, survivors: .max) {
      tasks, make, output throws(CetError) in
      try forEachBatch(tasks, columns: weights.columns, workers) { task in
        let block = try make(task, options.starts)
        let search = try TrellisBlock(block, values, workers.interruption)
        if options.starts.count > 1 {
          try search.decode(paths: min(options.fewPaths, options.paths))
          try block.residual()
          try block.refit()
          block.keepBestStart()
        }
        for _ in 0..<options.rounds {
          try search.decode(paths: options.paths)
          try block.residual()
          try block.refit()
        }
        block.emit(output, codes: search.codes)
      }
    }
  }

  /// Scales that are the root mean square of what they scale; 0 where all of that is zero.
  private static func meanSquareGrid(_ weights: WeightMatrix, bits: Int, granularity: Granularity) throws(CetError) -> AffineGrid {
    let (rows, columns) = (weights.rows, weights.columns)
    let blocks = try AffineGrid.blocks(bits: bits, rows: rows, columns: columns, granularity: granularity)
    let size = AffineGrid.blockSize(columns, granularity)
    var grid = try AffineGrid(
      bits: bits, rows: rows, columns: columns, granularity: granularity,
      scales: [Float](repeating: 1, count: rows * blocks), zeroPoints: [UInt8](repeating: 0, count: rows * blocks))
    for row in 0..<rows {
      for block in 0..<blocks {
        let members = (row * columns + block * size)..<(row * columns + min((block + 1) * size, columns))
        let sum = weights.values[members].reduce(0.0) { $0 + Double($1) * Double($1) }
        let scale = Float((sum / Double(max(1, members.count))).squareRoot())
        grid.scales[row * blocks + block] = scale > ScaleSearch.smallestRange ? scale : 0
      }
    }
    return grid
  }
}
