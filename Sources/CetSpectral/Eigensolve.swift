import CetTensor

/// Eigenpairs at one end of the spectrum of a symmetric map by thick-restart Lanczos. Not reaching the tolerance is
/// not an error: the flags and residual norms of the result say what was reached.
///
/// `progress(applies, converged)` runs after every application on the calling thread and may throw to cancel.
public func eigensolve(
  _ map: some LinearMap, _ options: EigensolveOptions, workers: Workers = Workers(threads: 1),
  progress: ((_ applies: Int, _ converged: Int) throws -> Void)? = nil
) throws -> Eigenpairs {
  let n = map.dimension
  guard n >= 1 else { throw CetError(.invalidArgument, "the linear map has dimension \(n)") }
  guard options.count >= 1 else { throw CetError(.invalidArgument, "the number of eigenpairs must be at least 1, got \(options.count)") }
  guard options.tolerance >= 0, options.tolerance.isFinite else {
    throw CetError(.invalidArgument, "the tolerance must be a finite number of at least 0, got \(options.tolerance)")
  }
  guard options.maximumApplies >= 2 else {
    throw CetError(.invalidArgument, "the eigensolver needs at least 2 applications of the map, got \(options.maximumApplies)")
  }
  if let size = options.basisDimension, size < 1 {
    throw CetError(.invalidArgument, "the basis dimension must be at least 1, got \(size)")
  }
  let wanted = min(options.count, n)
  let capacity = min(n, max(options.basisDimension ?? max(2 * min(wanted, 1 << 30) + 10, 20), wanted + 2))
  // The last applications are kept for the true residuals.
  let limit = max(1, options.maximumApplies - wanted)

  var lanczos = try LanczosFactorization(dimension: n, capacity: capacity, seed: options.seed, start: options.start, workers: workers)
  var restarts = 0
  var converged = 0
  var checked: [Double]?
  while true {
    while lanczos.size < capacity && lanczos.applies < limit {
      try lanczos.extend(map)
      try progress?(lanczos.applies, converged)
    }
    let (values, coordinates) = try lanczos.ritzPairs()
    let size = lanczos.size
    let order = values.indices.sorted {
      options.part.precedes(values[$0], values[$1]) || (!options.part.precedes(values[$1], values[$0]) && $0 < $1)
    }
    let largest = values.reduce(0) { max($0, abs($1)) }
    // ‖H v − θ v‖ = β |last coordinate| for a Ritz pair. Half of the bound leaves room for round-off and for
    // what the search for repeated eigenvalues drops.
    let bound = { (i: Int) in 0.5 * convergenceBound(values[i], largest: largest, tolerance: options.tolerance) }
    let best = Array(order.prefix(wanted))
    converged = best.reduce(0) { $0 + (lanczos.beta * abs(coordinates[$1 * size + size - 1]) <= bound($1) ? 1 : 0) }
    var complete = size == n
    if converged == wanted && !complete {
      let unchanged = checked.map { zip($0, best).allSatisfy { abs($0 - values[$1]) <= bound($1) } } ?? false
      complete = unchanged || !options.checksForRepeated
      checked = best.map { values[$0] }
      if !complete && lanczos.applies < limit {
        try lanczos.restart(
          values: best.map { values[$0] }, coordinates: best.flatMap { coordinates[($0 * size)..<(($0 + 1) * size)] },
          randomDirection: true)
        restarts += 1
        continue
      }
    }
    guard !complete, lanczos.applies < limit else {
      return try finish(
        map, &lanczos, values: values, coordinates: coordinates, picked: best, largest: largest, restarts: restarts,
        options, progress)
    }
    // Besides the wanted vectors half of the others stay: they carry what is known about the next ones.
    let kept = min(wanted + (capacity - wanted) / 2, capacity - 1)
    let picked = order.prefix(kept)
    try lanczos.restart(
      values: picked.map { values[$0] }, coordinates: picked.flatMap { coordinates[($0 * size)..<(($0 + 1) * size)] })
    restarts += 1
  }
}

private func convergenceBound(_ value: Double, largest: Double, tolerance: Double) -> Double {
  max(tolerance * abs(value), 2e-6 * largest)
}

/// Ritz vectors, and Rayleigh quotients and residuals from one more application of the map to each.
private func finish(
  _ map: some LinearMap, _ lanczos: inout LanczosFactorization, values: [Double], coordinates: [Double], picked: [Int],
  largest: Double, restarts: Int, _ options: EigensolveOptions, _ progress: ((Int, Int) throws -> Void)?
) throws -> Eigenpairs {
  let size = lanczos.size
  let basis = lanczos.basis
  let n = basis.n
  try basis.rotate(picked.flatMap { coordinates[($0 * size)..<(($0 + 1) * size)] }, kept: picked.count, count: size)
  let memory = try Storage(byteCount: n * MemoryLayout<Float>.stride)
  let product = memory.pointer.assumingMemoryBound(to: Float.self)
  var pairs: [(value: Double, residual: Double, vector: Int)] = []
  for i in picked.indices {
    let v = basis.vector(i)
    let norm = try basis.norm(v)
    if norm > 0 { try basis.scale(v, by: 1 / norm) }
    try lanczos.apply(map, v, product)
    let value = try basis.dot(v, product)
    pairs.append((value, try basis.residualNorm(product, value, v), i))
    try progress?(lanczos.applies, 0)
  }
  // Rayleigh quotients of nearly equal values may have changed places.
  pairs.sort { options.part.precedes($0.value, $1.value) || (!options.part.precedes($1.value, $0.value) && $0.vector < $1.vector) }
  var vectors: [Float] = []
  vectors.reserveCapacity(n * pairs.count)
  for pair in pairs { vectors.append(contentsOf: UnsafeBufferPointer(start: basis.vector(pair.vector), count: n)) }
  return Eigenpairs(
    dimension: n, values: pairs.map(\.value), vectors: vectors, residualNorms: pairs.map(\.residual),
    converged: pairs.map { $0.residual <= convergenceBound($0.value, largest: largest, tolerance: options.tolerance) },
    applies: lanczos.applies, restarts: restarts, ritzValues: values)
}
