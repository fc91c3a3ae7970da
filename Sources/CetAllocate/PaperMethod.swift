import CKernels
import CetSpectral
import CetTensor
import Glibc

/// Algorithm 1 of arXiv 2502.15802 taken literally, with what it leaves out supplied:
/// - the *stiff* axes are those of largest |λ| (step 4 prints "m smallest", the text means the short axes);
/// - the descent on Σ |λ_j| y_j² and ‖δ‖² has the size term that the constraint of Eq. 13 asks for: without it
///   δ → 0. A model of n weights with error δ takes −n log₂ ‖δ‖ bits up to a constant, and its weight is such that
///   the norm of δ comes to rest at σ √n;
/// - bits are relative to the tensor's range: log₂(range / (|δ| + α range));
/// - σ is found by bisection, so that the size target is met.
/// It says little about a tensor (m constraints take m / n of the energy of δ): it is there for comparison.
public enum PaperMethod {
  /// How the error of a tensor becomes bits (step 5).
  public enum Mapping: Sendable, Hashable {
    /// Method 1: b = log₂(1 / (|δ| / range + α)), rounded to the nearest allowed width.
    case logarithm
    /// Method 2: the allowed width whose true quantization error is nearest to |δ|, as a ratio.
    case trueError
  }

  public struct Tensor: Sendable {
    public var name: String
    /// Its place in the parameter vector.
    public var range: Range<Int>
    /// Allowed widths, any order.
    public var options: [Option]

    public struct Option: Sendable, Hashable {
      public var bits: Int
      /// In the unit of the budget.
      public var cost: Int
      /// Root mean square of Q(W) − W at this width; only for `Mapping.trueError`.
      public var error: Double
      public init(bits: Int, cost: Int, error: Double = .nan) {
        self.bits = bits
        self.cost = cost
        self.error = error
      }
    }

    public init(name: String, range: Range<Int>, options: [Option]) {
      self.name = name
      self.range = range
      self.options = options
    }
  }

  public struct Options: Sendable {
    public var mapping = Mapping.logarithm
    /// Stiff axes used; all given pairs when nil.
    public var stiffCount: Int?
    /// Random starts δ₀; the mean squares of their results are averaged.
    public var samples = 4
    /// Steps of gradient descent.
    public var steps = 200
    /// Weight of ‖δ‖² (and of the size term that balances it) relative to the largest |λ|.
    public var normWeight = 1e-3
    /// The paper's α.
    public var alpha = 1e-8
    public var seed: UInt64 = 0
    public init() {}
  }

  public struct Result: Sendable {
    public var bits: [String: Int]
    public var cost: Int
    /// Root mean square of δ over all weights at the chosen size.
    public var sigma: Double
    /// Root mean square of δ per tensor, in their order.
    public var tensorErrors: [Double]
    /// Σ |λ_j| y_j² of the descended δ over that of the random start, mean over samples.
    public var stiffEnergyLeft: Double
  }

  /// - Parameters:
  ///   - pairs: eigenpairs of the loss over the whole parameter vector.
  ///   - weights: the parameter vector, for the ranges of the tensors.
  ///   - budget: largest total cost.
  public static func allocate(
    pairs: Eigenpairs, weights: [Float], tensors: [Tensor], budget: Int, options: Options = Options()
  ) throws(CetError) -> Result {
    let tensors = try validated(tensors, pairs, weights, budget, options)
    let (profile, left) = try errorProfile(pairs, tensors.map(\.range), options)
    let spans = tensors.map { tensor -> Double in
      weights.withUnsafeBufferPointer { values in
        var low: Float = 0
        var high: Float = 0
        guard let base = values.baseAddress else { return 0 }
        _ = ck_range_f32(base + tensor.range.lowerBound, &low, &high, tensor.range.count)
        return Double(high) - Double(low)
      }
    }
    // The descent is linear in σ: its result for σ = 1 serves all sizes.
    func choice(_ sigma: Double) -> [Tensor.Option] {
      zip(tensors, zip(profile, spans)).map { tensor, shape in
        option(of: tensor, error: sigma * shape.0, span: shape.1, options)
      }
    }
    func cost(_ chosen: [Tensor.Option]) -> Int { chosen.reduce(0) { $0 + $1.cost } }

    // Bisection on log₂ σ: more error never takes more bits.
    var (low, high) = (-120.0, 120.0)
    if cost(choice(exp2(low))) <= budget {
      high = low
    } else {
      for _ in 0..<80 {
        let middle = (low + high) / 2
        if cost(choice(exp2(middle))) <= budget { high = middle } else { low = middle }
      }
    }
    let chosen = choice(exp2(high))
    guard cost(chosen) <= budget else { throw CetError(.internal, "no size of the error meets the budget \(budget)") }
    return Result(
      bits: Dictionary(uniqueKeysWithValues: zip(tensors.map(\.name), chosen.map(\.bits))), cost: cost(chosen),
      sigma: exp2(high), tensorErrors: profile.map { $0 * exp2(high) }, stiffEnergyLeft: left)
  }

  /// Steps 2 to 4 for σ = 1: the root mean square of δ in every range.
  ///
  /// The gradient of Σ |λ_j| y_j² + μ (‖δ‖² − n σ² ln ‖δ‖²) lies in the span of the stiff axes and of δ itself, so
  /// that the descent runs on the m coordinates y and on one factor for the rest of δ:
  ///   y_j ← y_j (1 − 2η(|λ_j| + μ(1 − nσ²/‖δ‖²))),  the same with λ = 0 for the rest.
  static func errorProfile(
    _ pairs: Eigenpairs, _ ranges: [Range<Int>], _ options: Options
  ) throws(CetError) -> (errors: [Double], stiffEnergyLeft: Double) {
    let n = pairs.dimension
    let stiff = Array(pairs.values.indices.sorted { abs(pairs.values[$0]) > abs(pairs.values[$1]) }
      .prefix(options.stiffCount ?? pairs.count))
    let largest = stiff.first.map { abs(pairs.values[$0]) } ?? 0
    let curvature = stiff.map { largest > 0 ? abs(pairs.values[$0]) / largest : 0 }
    let rate = 0.25 / (1 + options.normWeight)  // half of what keeps the stiffest axis from overshooting
    var random = Random(seed: options.seed)
    var squares = [Double](repeating: 0, count: ranges.count)
    var left = 0.0
    var delta = [Float](repeating: 0, count: n)
    for _ in 0..<options.samples {
      for i in 0..<n { delta[i] = Float(random.normal()) }
      let start = stiff.map { axis -> Double in
        pairs.vectors.dot(axis, delta)
      }
      let total = ck_dot_f32(delta, delta, n)
      let flat = max(total - start.reduce(0) { $0 + $1 * $1 }, 0)
      var y = start
      var rest = 1.0
      for _ in 0..<options.steps {
        let norm = y.reduce(0) { $0 + $1 * $1 } + rest * rest * flat
        let pull = norm > 0 ? options.normWeight * (1 - Double(n) / norm) : 0
        for j in y.indices { y[j] *= 1 - 2 * rate * (curvature[j] + pull) }
        rest *= 1 - 2 * rate * pull
      }
      // δ = rest · δ₀ + Σ (y_j − rest · y_j(0)) p_j
      delta.withUnsafeMutableBufferPointer { d in
        guard let d = d.baseAddress else { return }
        ck_scale_wide_f32(rest, d, n)
        for (j, axis) in stiff.enumerated() { pairs.vectors.add(axis, times: y[j] - rest * start[j], to: d) }
      }
      delta.withUnsafeBufferPointer { d in
        guard let d = d.baseAddress else { return }
        for (i, range) in ranges.enumerated() {
          squares[i] += ck_dot_f32(d + range.lowerBound, d + range.lowerBound, range.count) / Double(max(range.count, 1))
        }
      }
      let energy = { (y: [Double]) in zip(curvature, y).reduce(0) { $0 + $1.0 * $1.1 * $1.1 } }
      left += energy(start) > 0 ? energy(y) / energy(start) : 0
    }
    let errors = squares.map { ($0 / Double(options.samples)).squareRoot() }
    for error in errors where !error.isFinite { throw CetError(.numeric, "the descended error is not finite") }
    return (errors, left / Double(options.samples))
  }

  private static func option(of tensor: Tensor, error: Double, span: Double, _ options: Options) -> Tensor.Option {
    switch options.mapping {
    case .logarithm:
      let bits = span > 0 ? -log2(error / span + options.alpha) : 0
      // Nearest width; the smaller of two equally near ones.
      return tensor.options.reduce(tensor.options[0]) { abs(Double($1.bits) - bits) < abs(Double($0.bits) - bits) ? $1 : $0 }
    case .trueError:
      let distance = { (option: Tensor.Option) in abs(log2(max(option.error, 1e-300)) - log2(max(error, 1e-300))) }
      return tensor.options.reduce(tensor.options[0]) { distance($1) < distance($0) ? $1 : $0 }
    }
  }

  /// Tensors with their options by ascending bits.
  private static func validated(
    _ tensors: [Tensor], _ pairs: Eigenpairs, _ weights: [Float], _ budget: Int, _ options: Options
  ) throws(CetError) -> [Tensor] {
    guard weights.count == pairs.dimension, pairs.vectors.count == pairs.count else {
      throw CetError(.shapeMismatch, "\(weights.count) weights got eigenvectors of dimension \(pairs.dimension)")
    }
    guard options.samples >= 1, options.steps >= 0, options.normWeight > 0, options.alpha >= 0 else {
      throw CetError(.invalidArgument, "the options of the paper's method are out of range")
    }
    var seen = Set<String>()
    var least = 0
    var most = 0
    var result = tensors
    for (i, tensor) in tensors.enumerated() {
      guard tensor.range.lowerBound >= 0, tensor.range.upperBound <= weights.count else {
        throw CetError(.invalidArgument, "tensor '\(tensor.name)' lies at \(tensor.range), outside \(weights.count) weights")
      }
      guard seen.insert(tensor.name).inserted else { throw CetError(.invalidArgument, "tensor '\(tensor.name)' is listed twice") }
      guard !tensor.options.isEmpty else { throw CetError(.invalidArgument, "tensor '\(tensor.name)' has no allowed bit widths") }
      for option in tensor.options {
        guard option.cost >= 0, option.cost < 1 << 48 else {
          throw CetError(.invalidArgument, "tensor '\(tensor.name)' at \(option.bits) bits has a cost of \(option.cost)")
        }
        if options.mapping == .trueError && !(option.error >= 0) {
          throw CetError(.numeric, "tensor '\(tensor.name)' at \(option.bits) bits has an error of \(option.error)")
        }
      }
      result[i].options.sort { $0.bits < $1.bits }
      // Widths of method 2 must fall in error as they rise in bits, or the bisection would have no order.
      for j in result[i].options.indices.dropFirst() {
        result[i].options[j].error = min(result[i].options[j].error, result[i].options[j - 1].error)
      }
      least += result[i].options[0].cost
      most += result[i].options[result[i].options.count - 1].cost
    }
    guard least <= budget else {
      throw CetError(
        .infeasibleBudget, "the budget is \(budget), the smallest reachable total is \(least), the largest useful one \(most)")
    }
    return result
  }
}
