import Testing

@testable import CetTensor

extension Tensor {
  /// Standard normal values.
  static func random(_ shape: [Int], _ generator: inout Random, layout: Layout = .rowMajor) throws -> Tensor {
    let tensor = try Tensor(uninitialized: .float32, shape, layout: layout)
    for index in 0..<tensor.count { tensor.floats[index] = Float(generator.normal()) }
    return tensor
  }

  /// Logical C order, widened.
  func doubles() throws -> [Double] { try array(as: Float.self).map(Double.init) }
}

func inner(_ a: Tensor, _ b: Tensor) throws -> Double {
  try zip(a.doubles(), b.doubles()).reduce(0) { $0 + $1.0 * $1.1 }
}

/// Largest difference, relative to the largest expected magnitude (at least 1).
func relativeError(_ found: Tensor, _ expected: [Double]) throws -> Double {
  let found = try found.doubles()
  guard found.count == expected.count else { return .infinity }
  let scale = expected.reduce(1) { max($0, abs($1)) }
  return zip(found, expected).reduce(0) { ($1.0 - $1.1).isNaN ? .infinity : max($0, abs($1.0 - $1.1)) } / scale
}

func relativeError(_ found: Tensor, _ expected: Tensor) throws -> Double {
  try relativeError(found, expected.doubles())
}

/// Every index of a shape, in C order.
func forEachIndex(_ shape: [Int], _ body: ([Int]) -> Void) {
  guard shape.allSatisfy({ $0 > 0 }) else { return }
  var index = [Int](repeating: 0, count: shape.count)
  while true {
    body(index)
    var axis = shape.count - 1
    while axis >= 0 {
      index[axis] += 1
      if index[axis] < shape[axis] { break }
      index[axis] = 0
      axis -= 1
    }
    if axis < 0 { return }
  }
}

func flat(_ index: [Int], _ shape: [Int]) -> Int { zip(index, shape).reduce(0) { $0 * $1.1 + $1.0 } }

/// Runs tests' kernels as workers do.
func serially<Result>(_ body: () throws -> Result) rethrows -> Result { try SerialKernels.run(body) }
