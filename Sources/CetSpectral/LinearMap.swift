/// A symmetric linear map v ↦ Hv on vectors of `dimension` floats. What H is, and over what its loss is
/// averaged, is the map's business: the eigensolver and the trace estimate know nothing else about it.
public protocol LinearMap {
  var dimension: Int { get }

  /// result = H v. The two do not overlap. Called from one thread at a time.
  func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws
}
