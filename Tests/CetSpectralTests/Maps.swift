import CetTensor
import Glibc

@testable import CetSpectral

/// A dense symmetric map that counts its applications.
final class DenseMap: LinearMap {
  let dimension: Int
  let matrix: [Double]
  var applies = 0
  /// When reached, the map returns NaN.
  var failAt = Int.max

  init(_ matrix: [Double], _ n: Int) {
    self.matrix = matrix
    dimension = n
  }

  convenience init(diagonal: [Double]) {
    let n = diagonal.count
    self.init((0..<(n * n)).map { $0 / n == $0 % n ? diagonal[$0 / n] : 0 }, n)
  }

  /// Random orthogonal similarity of a diagonal matrix: Householder reflections keep the spectrum exactly.
  convenience init(spectrum: [Double], seed: UInt64) {
    let n = spectrum.count
    var random = Random(seed: seed)
    var a = (0..<(n * n)).map { $0 / n == $0 % n ? spectrum[$0 / n] : 0 }
    for _ in 0..<3 {
      let u = (0..<n).map { _ in random.normal() }
      let norm = u.reduce(0) { $0 + $1 * $1 }
      for _ in 0..<2 {  // from the left, transpose, from the left again
        for j in 0..<n {
          var dot = 0.0
          for i in 0..<n { dot += u[i] * a[i * n + j] }
          for i in 0..<n { a[i * n + j] -= 2 * u[i] * dot / norm }
        }
        a = (0..<(n * n)).map { a[$0 % n * n + $0 / n] }
      }
    }
    self.init(a, n)
  }

  static func random(_ n: Int, seed: UInt64) -> DenseMap {
    var random = Random(seed: seed)
    var a = [Double](repeating: 0, count: n * n)
    for i in 0..<n {
      for j in 0...i {
        a[i * n + j] = random.normal()
        a[j * n + i] = a[i * n + j]
      }
    }
    return DenseMap(a, n)
  }

  func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws(CetError) {
    applies += 1
    for i in 0..<dimension {
      var sum = 0.0
      for j in 0..<dimension { sum += matrix[i * dimension + j] * Double(v[j]) }
      result[i] = applies >= failAt ? .nan : Float(sum)
    }
  }

  func residual(_ value: Double, _ v: [Float]) -> Double {
    let v = v.map(Double.init)
    var squares = 0.0
    for i in 0..<dimension {
      var sum = -value * v[i]
      for j in 0..<dimension { sum += matrix[i * dimension + j] * v[j] }
      squares += sum * sum
    }
    return squares.squareRoot()
  }
}

/// A diagonal map too large to be dense.
final class DiagonalMap: LinearMap {
  let diagonal: [Float]
  var dimension: Int { diagonal.count }
  init(_ diagonal: [Float]) { self.diagonal = diagonal }
  func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws(CetError) {
    for i in 0..<dimension { result[i] = diagonal[i] * v[i] }
  }
}

/// Remembers how many vectors each call had.
final class BlockCountingMap: LinearMap {
  let inner: DenseMap
  var blocks: [Int] = []
  var dimension: Int { inner.dimension }
  init(_ inner: DenseMap) { self.inner = inner }
  func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws(CetError) { try apply(v, count: 1, result) }
  func apply(_ v: UnsafePointer<Float>, count: Int, _ result: UnsafeMutablePointer<Float>) throws(CetError) {
    blocks.append(count)
    for i in 0..<count { try inner.apply(v + i * dimension, result + i * dimension) }
  }
}

/// A folder that goes with the object.
final class TemporaryFolder {
  let path: String
  init() throws {
    var template = Array("/tmp/cet-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CetError(.io, "no temporary folder") }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
  deinit { rmdir(path) }
  var isEmpty: Bool {
    guard let folder = opendir(path) else { return false }
    defer { closedir(folder) }
    var count = 0
    while readdir(folder) != nil { count += 1 }
    return count == 2
  }
}
