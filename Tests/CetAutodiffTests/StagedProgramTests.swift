import CetOperators
import CetTensor
import Testing

@testable import CetAutodiff

/// The gradient of a loss of `Tokens`, and its derivative when the weights move.
private struct Products {
  let tokens: Tokens
  let program: Program
  let gradients: [Value]
  let products: [Value]
  let directions: [Value]
  let feeds: [Int: Tensor]

  init() throws {
    tokens = try Tokens()
    let bound = try tokens.program()
    let weights = bound.parameters.values.sorted { $0.id < $1.id }
    gradients = try tokens.loss(bound).gradients
    let moved = weights.map { ($0, bound.emitter.source(.tangent("direction"), $0.type)) }
    directions = moved.map(\.1)
    products = try Differentiate.tangents(of: gradients, along: Dictionary(uniqueKeysWithValues: moved), bound.emitter)
      .compactMap { $0 }
    program = bound.program
    feeds = tokens.feeds(bound)
  }

  func direction(_ seed: UInt64) throws -> [Int: Tensor] {
    var random = Random(seed: seed)
    let tensors = try directions.map { value in
      (value.id, try Tensor((0..<value.count).map { _ in Float(random.normal()) }, shape: value.shape))
    }
    return Dictionary(uniqueKeysWithValues: tensors)
  }

  func staged(sums: Bool = true) -> StagedProgram {
    StagedProgram(program, outputs: gradients + products, directions: directions, sums: sums)
  }
}

@Suite struct StagedProgramTests {
  @Test(arguments: [false, true]) func laterStages_giveWhatAFreshRunGives(_ sums: Bool) throws {
    let made = try Products()
    let context = ComputeContext()
    let staged = made.staged(sums: sums)
    let prepared = try staged.prepare(made.feeds, context)
    for seed in [1, 2, 1] as [UInt64] {
      let direction = try made.direction(seed)
      let found = try staged.run(prepared, changed: direction, context)
      let whole = StagedProgram(made.program, outputs: staged.outputs, sums: sums)
      let fresh = try whole.run(made.feeds.merging(direction) { $1 }, context)
      for (a, b) in zip(found, fresh) {
        let (x, y) = (try a.array(as: Float.self), try b.array(as: Float.self))
        // Where a term is at hand already, no product is added on top of another.
        if sums {
          let scale = x.reduce(0) { max($0, abs($1)) }
          for (x, y) in zip(x, y) { #expect(abs(x - y) <= 1e-5 * scale) }
        } else {
          #expect(x == y)
        }
      }
    }
  }

  @Test func prepared_isReadByManyRunsAndStaysAsItIs() throws {
    let made = try Products()
    let context = ComputeContext()
    let staged = made.staged()
    let prepared = try staged.prepare(made.feeds, context)
    func products(_ seed: UInt64) throws -> [[Float]] {
      try staged.run(prepared, changed: made.direction(seed), outputs: made.products, context).map { try $0.array(as: Float.self) }
    }
    let before = try products(1)
    #expect(try products(2) != before)
    #expect(try products(1) == before)
  }

  @Test func directionThatIsNotGiven_isAnError() throws {
    let made = try Products()
    let staged = made.staged()
    let prepared = try staged.prepare(made.feeds, ComputeContext())
    #expect(throws: CetError.self) { try staged.run(prepared, outputs: made.products, ComputeContext()) }
  }

  @Test func weight_leavesWhatItsReadersReadBesideIt() throws {
    let tokens = try Tokens()
    let bound = try tokens.program()
    let y = try bound.values(["y"])[0]
    let context = ComputeContext()
    let staged = StagedProgram(bound.program, outputs: [y], weights: Array(bound.parameters.values), sums: false)
    let prepared = try staged.prepare(tokens.feeds(bound), context)
    let b = try bound.parameter("b")
    let other = try Tensor.filled(0.25, .float32, b.shape)
    let found = try staged.run(prepared, changed: [b.id: other], context)[0].array(as: Float.self)
    let fresh = try staged.run(tokens.feeds(bound).merging([b.id: other]) { $1 }, context)[0].array(as: Float.self)
    #expect(found == fresh)
    #expect(try staged.run(prepared, context)[0].array(as: Float.self) != fresh)
  }

  @Test func walk_isNoLessThanWhatIsHeldAndLittleMore() throws {
    let made = try Products()
    let context = ComputeContext()
    let staged = made.staged()
    _ = try staged.run(staged.prepare(made.feeds, context), changed: made.direction(1), context)
    var walk = MemoryWalk(made.program)
    let kept = staged.walk(&walk, changes: [made.directions])
    let held = context.arena.peakByteCount
    #expect(held <= walk.byteCount && walk.byteCount <= held * 3 / 2)
    #expect(0 < kept && kept < walk.byteCount)
  }
}
