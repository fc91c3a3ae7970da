import CetTensor

/// Eigenpairs at one end of the spectrum of a symmetric map by thick-restart block Lanczos. Not reaching the tolerance
/// is not an error: the flags and residual norms of the result say what was reached.
///
/// `progress(applies, converged)` runs after every block of applications on the calling thread and may throw to cancel.
public func eigensolve(
  _ map: some LinearMap, _ options: EigensolveSettings, workers: Workers = Workers(threads: 1),
  checkpoint: EigensolveCheckpoint? = nil, progress: ((_ applies: Int, _ converged: Int) throws(CetError) -> Void)? = nil
) throws(CetError) -> Eigenpairs {
  let n = map.dimension
  let sizes = try EigensolveSizes(dimension: n, options)
  let (wanted, capacity, block) = (sizes.wanted, sizes.capacity, sizes.block)
  // The last applications are kept for the true residuals.
  let limit = max(block, options.maximumApplies - wanted)

  var lanczos: LanczosFactorization
  var restarts = 0
  var checked: [Double]?
  if let checkpoint, let state = checkpoint.resume {
    guard state.fits(sizes, dimension: n, type: options.basisType) else {
      throw CetError(.invalidArgument, "the saved state does not belong to a solve of this size")
    }
    lanczos = try LanczosFactorization(
      dimension: n, capacity: capacity, block: block, type: options.basisType, folder: options.basisFolder,
      workers: workers, restored: state, fill: checkpoint.fill)
    (restarts, checked) = (state.restarts, state.checked)
  } else {
    lanczos = try LanczosFactorization(
      dimension: n, capacity: capacity, block: block, type: options.basisType, folder: options.basisFolder,
      seed: options.seed, workers: workers, start: startBlock(n, options))
  }
  var converged = 0
  while true {
    while lanczos.size < capacity && lanczos.applies + lanczos.pending <= limit {
      try lanczos.extend(map)
      try progress?(lanczos.applies, converged)
    }
    let (values, coordinates) = try lanczos.ritzPairs()
    let size = lanczos.size
    let order = values.indices.sorted {
      options.part.precedes(values[$0], values[$1]) || (!options.part.precedes(values[$1], values[$0]) && $0 < $1)
    }
    let largest = values.reduce(0) { max($0, abs($1)) }
    // Half of the bound leaves room for round-off and for what the search for repeated eigenvalues drops.
    let bound = { (i: Int) in 0.5 * convergenceBound(values[i], largest: largest, tolerance: options.tolerance) }
    let best = Array(order.prefix(wanted))
    converged = best.reduce(0) {
      $0 + (lanczos.residual(coordinates[($1 * size)..<(($1 + 1) * size)]) <= bound($1) ? 1 : 0)
    }
    let more = lanczos.applies + lanczos.pending <= limit
    var complete = size == n
    if converged == wanted && !complete {
      let unchanged = checked.map { zip($0, best).allSatisfy { abs($0 - values[$1]) <= bound($1) } } ?? false
      complete = unchanged || !options.checksForRepeated
      checked = best.map { values[$0] }
      if !complete && more {
        // What stays must leave room for whole blocks.
        let kept = capacity - (capacity - wanted) / block * block
        let picked = order.prefix(kept)
        try lanczos.restart(
          values: picked.map { values[$0] }, coordinates: picked.flatMap { coordinates[($0 * size)..<(($0 + 1) * size)] },
          randomDirections: true)
        restarts += 1
        try checkpoint?.save(lanczos.state(restarts: restarts, checked: checked))
        continue
      }
    }
    guard !complete, more else {
      return try finish(
        map, &lanczos, values: values, coordinates: coordinates, picked: best, largest: largest, restarts: restarts,
        options, progress)
    }
    // Besides the wanted vectors half of the others stay: they carry what is known about the next ones.
    let room = max(block, (capacity - wanted - (capacity - wanted) / 2) / block * block)
    let picked = order.prefix(capacity - room)
    try lanczos.restart(
      values: picked.map { values[$0] }, coordinates: picked.flatMap { coordinates[($0 * size)..<(($0 + 1) * size)] })
    restarts += 1
    try checkpoint?.save(lanczos.state(restarts: restarts, checked: checked))
  }
}

private func convergenceBound(_ value: Double, largest: Double, tolerance: Double) -> Double {
  max(tolerance * abs(value), 2e-6 * largest)
}

/// Writes the given start vector and sums of the initial vectors into the first block.
private func startBlock(
  _ n: Int, _ options: EigensolveSettings
) -> ((UnsafeMutablePointer<Float>, Int) throws(CetError) -> Int)? {
  guard options.start?.count == n || options.initial?.count ?? 0 > 0 else { return nil }
  return { block, columns in
    var used = 0
    if let start = options.start, start.count == n {
      start.withUnsafeBufferPointer { if let first = $0.baseAddress { block.update(from: first, count: n) } }
      used = 1
    }
    guard let initial = options.initial, initial.count > 0 else { return used }
    // Each column a sum of all vectors with its own signs: a Krylov space that begins in their span separates them
    // in as many steps as there are.
    var random = Random(seed: options.seed)
    let signs = (0..<(columns * initial.count)).map { _ in random.next() & 1 == 0 ? 1.0 : -1.0 }
    let sums = min(columns - used, initial.count)
    for c in 0..<sums {
      let column = block + (used + c) * n
      for i in 0..<n { column[i] = 0 }
      for k in 0..<initial.count { initial.add(k, times: signs[c * initial.count + k], to: column) }
    }
    return used + sums
  }
}

/// Ritz vectors, and Rayleigh quotients and residuals from one more application of the map to each, in blocks.
private func finish(
  _ map: some LinearMap, _ lanczos: inout LanczosFactorization, values: [Double], coordinates: [Double], picked: [Int],
  largest: Double, restarts: Int, _ options: EigensolveSettings, _ progress: ((Int, Int) throws(CetError) -> Void)?
) throws(CetError) -> Eigenpairs {
  let size = lanczos.size
  let basis = lanczos.basis
  let n = basis.n
  let vectors = try basis.rotateForGood(
    picked.flatMap { coordinates[($0 * size)..<(($0 + 1) * size)] }, kept: picked.count, count: size)
  var pairs: [(value: Double, residual: Double)] = []
  for first in stride(from: 0, to: picked.count, by: lanczos.block) {
    let count = min(lanczos.block, picked.count - first)
    for c in 0..<count {
      let v = lanczos.input + c * n
      vectors.copy(first + c, into: v)
      let norm = try basis.norm(v)
      guard norm > 0 else { continue }
      vectors.normalize(first + c, by: 1 / norm)
      vectors.copy(first + c, into: v)
    }
    try lanczos.apply(map, count: count)
    for c in 0..<count {
      let (v, product) = (lanczos.input + c * n, lanczos.output + c * n)
      let square = try basis.dot(v, v)  // not quite 1 for rounded vectors
      let value = square > 0 ? try basis.dot(v, product) / square : 0
      pairs.append((value, square > 0 ? try basis.residualNorm(product, value, v) / square.squareRoot() : 0))
    }
    try progress?(lanczos.applies, 0)
  }
  // Rayleigh quotients of nearly equal values may have changed places.
  let order = pairs.indices.sorted {
    options.part.precedes(pairs[$0].value, pairs[$1].value) || (!options.part.precedes(pairs[$1].value, pairs[$0].value) && $0 < $1)
  }
  vectors.reorder(order)
  let sorted = order.map { pairs[$0] }
  return Eigenpairs(
    dimension: n, values: sorted.map(\.value), vectors: vectors, residualNorms: sorted.map(\.residual),
    converged: sorted.map { $0.residual <= convergenceBound($0.value, largest: largest, tolerance: options.tolerance) },
    applies: lanczos.applies, restarts: restarts, krylovDimension: values.count)
}
