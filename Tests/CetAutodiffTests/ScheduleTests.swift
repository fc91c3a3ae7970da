import CetOperators
import CetTensor
import Testing

@testable import CetAutodiff

/// c = exp x + tanh x, d = c·c, of which e = −x is no part; the steps are made in the order a, b, c, d, e.
private struct HandMade {
  let program = Program()
  let x: Value
  let a: Value
  let b: Value
  let c: Value
  let d: Value
  let e: Value

  init() throws {
    let emitter = Emitter(program: program, context: ComputeContext())
    x = emitter.source(.input("x"), TensorType(.float32, [1000]))
    a = try emitter.unary(.exp, x)
    b = try emitter.unary(.tanh, x)
    c = try emitter.add(a, b)
    d = try emitter.multiply(c, c)
    e = try emitter.negate(x)
  }

  var steps: [Instruction] { program.steps.indices.map { .step($0) } }

  func schedule(_ instructions: [Instruction], keep: [Value]) -> [Set<Int>] {
    Schedule(program, instructions, keep: Set(keep.map(\.id))).released.map(Set.init)
  }
}

@Suite struct ScheduleTests {
  @Test func values_goAfterTheirLastReader() throws {
    let made = try HandMade()
    let (x, a, b, c, d, e) = (made.x.id, made.a.id, made.b.id, made.c.id, made.d.id, made.e.id)
    #expect(made.schedule(made.steps, keep: [made.d, made.e]) == [[], [], [a, b], [c], [x]])
    // What nobody reads goes at once, what is kept never.
    #expect(made.schedule(made.steps, keep: [made.a]) == [[], [], [b], [c, d], [x, e]])
    #expect(made.schedule(made.steps, keep: [made.x, made.a, made.b, made.c, made.d, made.e]) == [[], [], [], [], []])
  }

  @Test func looks_holdAValueUntilTheyCome() throws {
    let made = try HandMade()
    let (x, a, b, c) = (made.x.id, made.a.id, made.b.id, made.c.id)
    let looking = Array(made.steps[..<4]) + [.look(a)] + Array(made.steps[4...])
    #expect(made.schedule(looking, keep: [made.d, made.e]) == [[], [], [b], [c], [a], [x]])
  }

  @Test func run_leavesWhatIsKeptAndNothingElse() throws {
    let made = try HandMade()
    let schedule = Schedule(made.program, made.steps, keep: [made.d.id])
    var values = RunValues(made.program, [made.x.id: try Tensor.filled(0, .float32, [1000])])
    try schedule.run(&values, ComputeContext())
    #expect(made.program.values.indices.filter(values.holds) == [made.d.id])
    #expect(try values.fetch(made.d.id).array(as: Float.self) == [Float](repeating: 1, count: 1000))
    let error = #expect(throws: CetError.self) { try values.fetch(made.x.id) }
    #expect(error?.message == "input 'x' is not given")
  }

  @Test func walk_countsTheBuffersThatARunAllocates() throws {
    let made = try HandMade()
    for keep in [[made.d], [made.a, made.d, made.e], [made.a, made.b, made.c, made.d, made.e]] {
      let schedule = Schedule(made.program, made.steps, keep: Set(keep.map(\.id)))
      let context = ComputeContext()
      var values = RunValues(made.program, [made.x.id: try Tensor.filled(0, .float32, [1000])])
      try schedule.run(&values, context)
      var walk = MemoryWalk(made.program)
      schedule.walk(&walk)
      // Beside the values a kernel takes little.
      #expect((walk.byteCount...walk.byteCount + 512).contains(context.arena.peakByteCount))
      #expect(walk.byteCount(keep.map(\.id)) == keep.count * Arena.capacity(for: 4000))
    }
  }

  @Test func walk_tellsWhatIsHeldAtATimeFromTheBuffersThatItTakes() throws {
    let program = Program()
    let emitter = Emitter(program: program, context: ComputeContext())
    let ids = [1000, 2000, 4000].map { emitter.source(.input("\($0)"), TensorType(.float32, [$0])).id }
    var walk = MemoryWalk(program)
    walk.make(ids[0])
    walk.make(ids[1])
    walk.release(ids[0])
    walk.make(ids[2])
    // A buffer serves values of its own size alone.
    let sizes = [4000, 8000, 16000].map { Arena.capacity(for: $0) }
    #expect(walk.byteCount == sizes[0] + sizes[1] + sizes[2])
    #expect(walk.heldByteCount == sizes[1] + sizes[2])
  }

  @Test func sum_takesAProductThatNobodyElseReads() throws {
    let program = Program()
    let emitter = Emitter(program: program, context: ComputeContext())
    let (x, w, r) = (
      emitter.source(.input("x"), TensorType(.float32, [40, 30])), emitter.source(.input("w"), TensorType(.float32, [30, 20])),
      emitter.source(.input("r"), TensorType(.float32, [40, 20])))
    let product = try emitter.emit(MatrixProduct(), x, w)
    let sum = try emitter.add(product, r)
    #expect(Fusion.instructions(program, [0, 1], keep: [sum.id]).count == 1)
    #expect(Fusion.instructions(program, [0, 1], keep: [sum.id, product.id]).count == 2)
    // The addend is its feeder's, who reads it again.
    let addend = try Tensor.filled(2, .float32, [40, 20])
    let staged = StagedProgram(program, outputs: [sum])
    for _ in 0..<2 {
      let feeds = [x.id: try Tensor.filled(1, .float32, [40, 30]), w.id: try Tensor.filled(1, .float32, [30, 20]), r.id: addend]
      #expect(try staged.run(feeds, ComputeContext())[0].array(as: Float.self) == [Float](repeating: 32, count: 800))
    }
  }
}
