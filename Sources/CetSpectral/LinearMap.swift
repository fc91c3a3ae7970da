import CetTensor

/// A symmetric linear map v ↦ Hv on vectors of `dimension` floats. What H is, and over what its loss is
/// averaged, is the map's business: the eigensolver and the trace estimate know nothing else about it.
public protocol LinearMap {
  var dimension: Int { get }

  /// result = H v. The two do not overlap. Called from one thread at a time.
  func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws(CetError)

  /// result_i = H v_i for `count` vectors. Vectors lie one after another in memory without gaps, and so do results. The
  /// blocks do not overlap. By default one application after another; a map that can read its data once for
  /// several vectors brings its own.
  func apply(_ v: UnsafePointer<Float>, count: Int, _ result: UnsafeMutablePointer<Float>) throws(CetError)
}

extension LinearMap {
  public func apply(_ v: UnsafePointer<Float>, count: Int, _ result: UnsafeMutablePointer<Float>) throws(CetError) {
    for i in 0..<count { try apply(v + i * dimension, result + i * dimension) }
  }
}
