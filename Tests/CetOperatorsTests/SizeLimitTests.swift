import CetGraph
import CetTensor
import Testing

@testable import CetOperators

struct SizeLimitTests {
  /// Operators without a derivative that make more than they are given.
  private func makers() throws -> [Sample] {
    let to: (Double) throws -> Sample.Operand = { .constant(try Tensor(scalar: $0)) }
    return [
      Sample("ConstantOfShape", [try integers(30, 40)]), Sample("Range", [try scalar(0), try scalar(900), try scalar(1)]),
      Sample("HannWindow", [try scalar(300)]), Sample("HammingWindow", [try scalar(300)]), Sample("BlackmanWindow", [try scalar(300)]),
      Sample("OneHot", [try integers(0, 2, 1), try scalar(200), try integers(0, 1)]),
      Sample("MelWeightMatrix", [try scalar(8), try scalar(64), try scalar(8000), try to(0), try to(4000)]),
      Sample("NonZero", [try integers([Int64](repeating: 1, count: 64), [4, 4, 4])]),
    ]
  }

  private func lowered(_ sample: Sample, limit: Int) throws -> (largest: Int, given: Int) {
    let test = try sample.test()
    let emitter = Emitter(program: Program(), context: ComputeContext(memoryLimit: limit))
    let inputs = test.inputs.map { emitter.constant($0) }
    let outputs = try test.emit(inputs, emitter)
    let held = sample.operands.reduce(0) { if case .constant(let tensor) = $1 { max($0, tensor.byteCount) } else { $0 } }
    return (outputs.map(\.type.byteCount).max() ?? 0, max(held, test.inputs.map(\.byteCount).max() ?? 0))
  }

  /// Whatever an operator makes that is larger than what it was given is refused by its size, where there is less room.
  @Test func everyOperator_resultLargerThanTheLimit_isRefused() throws {
    var refused = 0
    for sample in try allSamples() + makers() {
      let (largest, given) = try lowered(sample, limit: .max)
      guard largest > given, largest > 8 else { continue }
      refused += 1
      do {
        _ = try lowered(sample, limit: largest - 1)
        Issue.record("\(sample.domain) \(sample.type): \(largest) bytes are made where \(largest - 1) are allowed")
      } catch {
        #expect(CetError(error).code == .outOfMemory, "\(sample.domain) \(sample.type): \(error)")
      }
    }
    #expect(refused > 20)
  }

  @Test func work_beyondTheLimit_isRefusedBeforeItIsDone() throws {
    let emitter = Emitter(program: Program(), context: ComputeContext(workLimit: 1 << 20))
    let big = emitter.source(.input("x"), TensorType(.float32, [4096, 4096]))
    _ = try emitter.matrixProduct(big, big)  // of a program that runs later
    let one = try emitter.scalar(1)
    let few = try emitter.expand(one, [64, 64])
    _ = try emitter.matrixProduct(few, few)
    #expect(throws: CetError.self) { try emitter.expand(one, [1024, 1024]) }
    #expect((try? emitter.expand(one, [1024, 1024])) == nil)
    do { _ = try emitter.expand(one, [1024, 1024]) } catch { #expect(CetError(error).isTooMuchWork) }
  }

  @Test func constants_ofSeveralPrograms_haveOneLimit() throws {
    let context = ComputeContext(memoryLimit: 10_000)
    func made() throws -> Program {
      let emitter = Emitter(program: Program(), context: context)
      _ = try emitter.expand(emitter.scalar(1), [1500])
      return emitter.program
    }
    try withExtendedLifetime(made()) {
      #expect(context.account.byteCount == 6000)
      #expect(throws: CetError.self) { try made() }
    }
    _ = try made()
    #expect(context.account.byteCount == 0)
  }

  @Test func interruption_endsLongKernels() throws {
    var asked = 0
    let context = ComputeContext(
      interruption: Interruption { () throws(CetError) in
        asked += 1
        if asked > 1 { throw CetError(.cancelled, "stopped") }
      })
    let count = 3 * ComputeContext.pieceSize
    let x = try Tensor.zeros(.float32, [count])
    let calls: [(String, () throws -> Void)] = [
      ("unary", { _ = try Unary(.exp).run([x], context) }), ("binary", { _ = try Binary(.add).run([x, x], context) }),
      ("convert", { _ = try Conversion.convert(x, to: .float64, context) }), ("sum", { _ = try Extremum(axes: [0], largest: true).run([x], context) }),
      ("running sum", { _ = try RunningSum(axis: 1).run([x.reshaped([count / 4, 4])], context) }),
      ("sort", { _ = try TopPositions(axis: 0, count: 1, largest: true).run([x], context) }),
      ("integers", {
        let ones = try Tensor.zeros(.int64, [1024, 1024])
        _ = try MatrixProduct().run([ones, ones], context)
      }),
      ("expand", { _ = try Expand([4, count]).run([x], context) }),
      ("pool", {
        let image = try x.reshaped([1, 1, 3 * 2048, 2048])
        _ = try MaximumPool(PoolingGeometry(input: image.shape, kernel: [16, 16])).run([image], context)
      }),
    ]
    for (name, call) in calls {
      asked = 0
      #expect(throws: CetError.self, "\(name)") { try call() }
    }
  }
}
