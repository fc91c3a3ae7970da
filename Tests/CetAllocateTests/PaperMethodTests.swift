import CetSpectral
import CetTensor
import Testing

@testable import CetAllocate

@Suite struct PaperMethodTests {
  /// Two stiff axes inside the first of three tensors.
  static func problem() throws -> (Eigenpairs, [Float], [PaperMethod.Tensor]) {
    let sizes = [20, 300, 500]
    let n = 820
    var random = Random(seed: 1)
    let weights = (0..<n).map { _ in Float(random.normal()) }
    var vectors = [Float](repeating: 0, count: 2 * n)
    vectors[3] = 1
    vectors[n + 7] = 1
    let pairs = try Eigenpairs(
      dimension: n, values: [50, -10], vectors: Eigenvectors(dimension: n, vectors: vectors), residualNorms: [0, 0], converged: [true, true], applies: 0,
      restarts: 0)
    var start = 0
    let tensors = sizes.enumerated().map { index, size in
      defer { start += size }
      return PaperMethod.Tensor(
        name: "t\(index)", range: start..<(start + size),
        options: [8, 2, 4, 3].map { .init(bits: $0, cost: size * $0, error: 3 / Double(1 << $0)) })
    }
    return (pairs, weights, tensors)
  }

  @Test(arguments: [PaperMethod.Mapping.logarithm, .trueError])
  func budgets_allocate_metAndMonotone(mapping: PaperMethod.Mapping) throws {
    let (pairs, weights, tensors) = try PaperMethodTests.problem()
    var options = PaperMethod.Options()
    options.mapping = mapping
    var previous = 0
    for budget in stride(from: 2 * 820, through: 8 * 820 + 10, by: 410) {
      let result = try PaperMethod.allocate(pairs: pairs, weights: weights, tensors: tensors, budget: budget, options: options)
      #expect(result.cost <= budget)
      #expect(result.cost >= previous)
      #expect(result.bits.count == 3)
      previous = result.cost
    }
    #expect(previous == 8 * 820)
    #expect(throws: CetError.self) {
      try PaperMethod.allocate(pairs: pairs, weights: weights, tensors: tensors, budget: 2 * 820 - 1, options: options)
    }
  }

  @Test func stiffAxes_descent_removedAndNormKept() throws {
    let (pairs, _, tensors) = try PaperMethodTests.problem()
    var options = PaperMethod.Options()
    options.samples = 64
    let (errors, left) = try PaperMethod.errorProfile(pairs, tensors.map(\.range), options)
    #expect(left < 1e-3)
    // Two of 20 coordinates are gone from the first tensor, none from the others; the total norm is σ √n.
    #expect(abs(errors[0] - (18.0 / 20).squareRoot()) < 0.05)
    #expect(abs(errors[1] - 1) < 0.03 && abs(errors[2] - 1) < 0.03)
  }

  @Test func sameSeed_allocate_sameResult() throws {
    let (pairs, weights, tensors) = try PaperMethodTests.problem()
    let first = try PaperMethod.allocate(pairs: pairs, weights: weights, tensors: tensors, budget: 3000)
    let second = try PaperMethod.allocate(pairs: pairs, weights: weights, tensors: tensors, budget: 3000)
    #expect(first.bits == second.bits && first.sigma == second.sigma)
  }

  @Test func noPairsOrBadRange_allocate_validated() throws {
    var (pairs, weights, tensors) = try PaperMethodTests.problem()
    let none = try Eigenpairs(
      dimension: 820, values: [], vectors: Eigenvectors(dimension: 820, vectors: []), residualNorms: [], converged: [], applies: 0, restarts: 0)
    #expect(try PaperMethod.allocate(pairs: none, weights: weights, tensors: tensors, budget: 3000).bits.count == 3)
    tensors[0].range = 0..<821
    #expect(throws: CetError.self) { try PaperMethod.allocate(pairs: pairs, weights: weights, tensors: tensors, budget: 3000) }
    weights.removeLast()
    #expect(throws: CetError.self) { try PaperMethod.allocate(pairs: pairs, weights: weights, tensors: [], budget: 3000) }
  }
}
