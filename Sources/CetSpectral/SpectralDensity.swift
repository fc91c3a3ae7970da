import CetTensor
import Glibc

/// The spectral density φ(t) = (1/n) Σ_i δ(t − λ_i) of a symmetric map by stochastic Lanczos quadrature (Ubaru, Chen, Saad
/// 2017): every probe z, a vector of random signs, gives the Gauss quadrature of its own spectral measure, and the
/// mean of the measures over probes is φ.
public struct SpectralDensity: Sendable {
  public var dimension: Int
  /// Ritz values of every probe, ascending.
  public var nodes: [[Double]]
  /// Weights of the nodes; those of a probe sum to 1.
  public var weights: [[Double]]
  public var applies: Int

  public init(dimension: Int, nodes: [[Double]], weights: [[Double]], applies: Int) {
    self.dimension = dimension
    self.nodes = nodes
    self.weights = weights
    self.applies = applies
  }

  /// The density at a point when every node is a Gaussian of standard deviation `width`: the mean over probes and its
  /// standard error, which is infinite for a single probe.
  public func value(at point: Double, width: Double) -> (density: Double, standardError: Double) {
    var moments = RunningMoments()
    for (nodes, weights) in zip(nodes, weights) {
      var sum = 0.0
      for (node, weight) in zip(nodes, weights) {
        let x = (point - node) / width
        sum += weight * exp(-0.5 * x * x)
      }
      moments.add(sum / (width * (2 * Double.pi).squareRoot()))
    }
    return (moments.mean, moments.standardError)
  }
}

public struct ProbeOptions: Sendable {
  /// Random vectors.
  public var samples: Int
  /// Steps of a Lanczos iteration: vectors of a basis.
  public var steps: Int
  public var seed: UInt64
  public var basisType = BasisType.float32
  /// Folder for a basis as a memory-mapped file; nil: in memory.
  public var basisFolder: String?
  /// Bytes for basis and work; nil: no limit.
  public var maximumMemory: Int?

  public init(samples: Int, steps: Int = 0, seed: UInt64 = 0) {
    self.samples = samples
    self.steps = steps
    self.seed = seed
  }

  /// Throws unless a basis of `vectors` of n elements, and `work` floats, fit.
  func checkMemory(_ n: Int, vectors: Int, work: Int) throws(CetError) {
    guard let basis = [n, min(vectors + 1, n), basisType.byteCount].validatedCount, let floats = [work, 4].validatedCount else {
      throw CetError(.outOfMemory, "a basis of \(vectors) vectors of \(n) elements is too large")
    }
    let need = floats + (basisFolder == nil ? basis : 0)
    if let limit = maximumMemory, need > limit {
      throw CetError(
        .outOfMemory, "a \(basisType.rawValue) basis of \(vectors) vectors of \(n) elements needs \(need) bytes, max_memory is \(limit)",
        bytesNeeded: need)
    }
  }
}

/// One application of the map per probe and step, less where a Krylov space ends.
public func estimateDensity(
  _ map: some LinearMap, _ options: ProbeOptions, workers: Workers = Workers(threads: 1),
  progress: ((_ applies: Int) throws(CetError) -> Void)? = nil
) throws(CetError) -> SpectralDensity {
  let n = map.dimension
  guard n >= 1 else { throw CetError(.invalidArgument, "the linear map has dimension \(n)") }
  guard options.samples >= 1 else { throw CetError(.invalidArgument, "the density needs at least 1 probe, got \(options.samples)") }
  guard options.steps >= 1 else { throw CetError(.invalidArgument, "the density needs at least 1 step, got \(options.steps)") }
  let steps = min(options.steps, n)
  try options.checkMemory(n, vectors: steps, work: 2 * n)
  var result = SpectralDensity(dimension: n, nodes: [], weights: [], applies: 0)
  var random = Random(seed: options.seed)
  for _ in 0..<options.samples {
    var lanczos = try LanczosFactorization(
      dimension: n, capacity: steps, type: options.basisType, folder: options.basisFolder, seed: random.next(),
      workers: workers
    ) { z, _ in
      random.fillWithSigns(z, n)
      return 1
    }
    var scale = 0.0
    while lanczos.size < steps {
      do { try lanczos.extend(map) } catch {
        throw error.code == .numeric
          ? CetError(.numeric, "the linear map returned a value that is not finite (apply \(result.applies + lanczos.applies))")
          : error
      }
      try progress?(result.applies + lanczos.applies)
      // What is left of a product that lies in the basis is round-off of single precision.
      let rest = lanczos.residual([1])
      scale = max(scale, abs(lanczos.projection[(lanczos.size - 1) * (steps + 1)]), rest)
      if rest <= 2e-6 * scale { break }
    }
    let (values, coordinates) = try lanczos.ritzPairs()
    let m = lanczos.size
    // The probe is the first basis vector. (In the inner product of a rounded basis up to its rounding.)
    var weights = (0..<m).map { coordinates[$0 * m] * coordinates[$0 * m] }
    let total = weights.reduce(0, +)
    for k in weights.indices { weights[k] /= total }
    result.nodes.append(values)
    result.weights.append(weights)
    result.applies += lanczos.applies
  }
  return result
}

extension Random {
  /// Independent signs ±1.
  mutating func fillWithSigns(_ z: UnsafeMutablePointer<Float>, _ n: Int) {
    var bits: UInt64 = 0
    for i in 0..<n {
      if i % 64 == 0 { bits = next() }
      z[i] = bits & 1 == 0 ? 1 : -1
      bits >>= 1
    }
  }
}
