import Testing

@testable import CetTensor

@Suite struct MatmulTests {
  /// op(a) op(b) + addend by the definition.
  static func naive(_ a: [Double], _ aShape: [Int], _ ta: Bool, _ b: [Double], _ bShape: [Int], _ tb: Bool, _ addend: [Double]?) -> ([Double], [Int]) {
    let leading = broadcastShape(Array(aShape.dropLast(2)), Array(bShape.dropLast(2))) ?? []
    let (m, k) = ta ? (aShape[aShape.count - 1], aShape[aShape.count - 2]) : (aShape[aShape.count - 2], aShape[aShape.count - 1])
    let n = tb ? bShape[bShape.count - 2] : bShape[bShape.count - 1]
    let shape = leading + [m, n]
    var result = addend ?? [Double](repeating: 0, count: shape.elementCount)
    func offset(_ lead: [Int], _ own: [Int], _ i: Int, _ j: Int) -> Int {
      let skip = lead.count - (own.count - 2)
      let index = (0..<(own.count - 2)).map { own[$0] == 1 ? 0 : lead[skip + $0] } + [i, j]
      return flat(index, own)
    }
    forEachIndex(shape) { index in
      let (i, j) = (index[index.count - 2], index[index.count - 1])
      let lead = Array(index.dropLast(2))
      var sum = 0.0
      for l in 0..<k {
        sum += a[offset(lead, aShape, ta ? l : i, ta ? i : l)] * b[offset(lead, bShape, tb ? j : l, tb ? l : j)]
      }
      result[flat(index, shape)] += sum
    }
    return (result, shape)
  }

  static let cases: [(leadA: [Int], leadB: [Int], m: Int, k: Int, n: Int)] = [
    ([], [], 1, 1, 1), ([], [], 3, 4, 5), ([], [], 64, 33, 70), ([], [], 1, 100, 40), ([], [], 40, 100, 1),
    ([2], [], 5, 6, 7), ([2, 3], [], 40, 20, 50), ([2, 3], [2, 3], 4, 4, 4), ([2, 3], [3], 33, 17, 40),
    ([3], [2, 3], 20, 31, 33), ([2, 1], [1, 3], 6, 5, 4), ([1], [4], 12, 13, 14), ([4], [1], 12, 13, 14),
    ([1, 1], [], 7, 40, 40), ([2, 2], [2, 2], 48, 32, 48), ([5], [5], 16, 32, 16), ([], [], 2, 40, 17),
  ]

  @Test(arguments: 0..<17) func multiply_anyBatching_matchesDefinition(index: Int) throws {
    let item = Self.cases[index]
    let context = ComputeContext()
    var generator = Random(seed: UInt64(index))
    for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
      let aShape = item.leadA + (ta ? [item.k, item.m] : [item.m, item.k])
      let bShape = item.leadB + (tb ? [item.n, item.k] : [item.k, item.n])
      let a = try Tensor.random(aShape, &generator)
      let b = try Tensor.random(bShape, &generator)
      let (product, shape) = try Self.naive(a.doubles(), aShape, ta, b.doubles(), bShape, tb, nil)
      try serially {
        let found = try Matmul.multiply(a, transposed: ta, b, transposed: tb, context)
        #expect(found.shape == shape)
        #expect(try relativeError(found, product) < 1e-5)
        let addend = try Tensor.random(shape, &generator)
        let sum = zip(product, try addend.doubles()).map { $0 + $1 }
        #expect(try relativeError(Matmul.multiply(a, transposed: ta, b, transposed: tb, addingTo: addend, context), sum) < 1e-5)

        // Results must not depend on what the recycled memory held.
        let poison = try Tensor(uninitialized: .float32, shape, arena: context.arena)
        poison.floats.update(repeating: .nan, count: poison.count)
      }
      let again = try serially { try Matmul.multiply(a, transposed: ta, b, transposed: tb, context) }
      #expect(try relativeError(again, product) < 1e-5)

      let a64 = try Tensor(a.doubles(), shape: aShape)
      let b64 = try Tensor(b.doubles(), shape: bShape)
      let wide = try serially { try Matmul.multiply(a64, transposed: ta, b64, transposed: tb, context) }
      #expect(try zip(wide.array(as: Double.self), product).allSatisfy { abs($0 - $1) < 1e-12 * Double(item.k + 10) })
      let ai = try Tensor(a.doubles().map { Int32($0 * 10) }, shape: aShape)
      let bi = try Tensor(b.doubles().map { Int32($0 * 10) }, shape: bShape)
      let (integers, _) = try Self.naive(
        ai.array(as: Int32.self).map(Double.init), aShape, ta, bi.array(as: Int32.self).map(Double.init), bShape, tb, nil)
      #expect(try Matmul.multiply(ai, transposed: ta, bi, transposed: tb, context).array(as: Int32.self).map(Double.init) == integers)
    }
  }

  @Test func multiply_innerSizeZero_givesZeroOrAddend() throws {
    let context = ComputeContext()
    let a = try Tensor.zeros(.float32, [2, 0])
    let b = try Tensor.zeros(.float32, [0, 3])
    #expect(try Matmul.multiply(a, b, context).doubles() == [Double](repeating: 0, count: 6))
    let addend = try Tensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
    #expect(try Matmul.multiply(a, b, addingTo: addend, context).doubles() == [1, 2, 3, 4, 5, 6])
    let empty = try Tensor.zeros(.float32, [0, 4, 5])
    #expect(try Matmul.multiply(empty, Tensor.zeros(.float32, [5, 2]), context).shape == [0, 4, 2])
  }

  @Test func multiply_integerOverflow_wraps() throws {
    let a = try Tensor([Int32.max, 2], shape: [1, 2])
    let b = try Tensor([2, 3] as [Int32], shape: [2, 1])
    #expect(try Matmul.multiply(a, b, ComputeContext()).array(as: Int32.self) == [4])
  }

  @Test func multiply_unfitShapes_throw() throws {
    let context = ComputeContext()
    func zeros(_ shape: [Int], _ type: ElementType = .float32) throws -> Tensor { try .zeros(type, shape) }
    for (a, b) in try [
      (zeros([2, 3]), zeros([2, 3])), (zeros([3]), zeros([3, 2])), (zeros([2, 2, 3]), zeros([3, 3, 2])),
      (zeros([2, 3]), zeros([3, 2], .float64)), (zeros([2, 3], .bool), zeros([3, 2], .bool)),
    ] {
      #expect(throws: CetError.self) { try Matmul.multiply(a, b, context) }
    }
    #expect(throws: CetError.self) {
      try Matmul.multiply(zeros([2, 3]), zeros([3, 2]), addingTo: zeros([2, 3]), context)
    }
  }
}
