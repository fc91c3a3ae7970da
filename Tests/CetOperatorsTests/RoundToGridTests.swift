import CetAutodiff
import CetOperators
import CetTensor
import Testing

@Suite struct RoundToGridTests {
  private static func rounded(_ values: [Float], _ grid: [Float]) throws -> [Float] {
    try RoundToGrid().run([Tensor(values, shape: [values.count]), Tensor(grid, shape: [3])], ComputeContext())[0].array(as: Float.self)
  }

  @Test func values_areThoseOfQuantizeAndDequantize() throws {
    let (scale, zero, levels) = (Float(0.37), Float(77), Float(255))
    var random = Random(seed: 3)
    let values = (0..<1000).map { _ in Float(200 * random.uniform() - 100) } + [0, -0.0, 1e30, -1e30, 0.185, -0.185, 0.555]
    let expected = values.map { x in
      (min(max((x / scale).rounded(.toNearestOrEven) + zero, 0), levels) - zero) * scale
    }
    #expect(try Self.rounded(values, [scale, zero, levels]) == expected)
  }

  @Test func noLevels_leaveValuesAsTheyAre() throws {
    let values: [Float] = [1.25, -3, .infinity, 1e-40]
    #expect(try Self.rounded(values, [1, 0, 0]) == values)
  }

  @Test func notANumber_stays() throws { #expect(try Self.rounded([.nan], [0.5, 3, 15])[0].isNaN) }

  @Test func derivative_goesStraightThrough() throws {
    let program = Program()
    let e = Emitter(program: program, context: ComputeContext())
    let (x, grid) = (e.source(.input("x"), TensorType(.float32, [4])), e.source(.input("g"), TensorType(.float32, [3])))
    let direction = e.source(.tangent("x"), x.type)
    let y = try e.emit(RoundToGrid(), x, grid)
    #expect(try Differentiate.tangents(of: [y], along: [x: direction], e)[0] == direction)
  }
}
