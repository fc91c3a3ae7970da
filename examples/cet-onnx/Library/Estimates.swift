import CCet

struct DensityValues {
  var width: Double
  /// Points in ascending order.
  var points: [(value: Double, density: Double, standardError: Double)]
}

extension Curvature {
  func parameterNames() throws -> Set<String> {
    Set(
      try (0..<cet_curvature_parameter_count(handle)).map { index in
        var info = try initialized(cet_parameter_info_init)
        try check(cet_curvature_get_parameter(handle, index, &info))
        return String(cString: info.name)
      })
  }

  func trace(_ options: cet_estimate_options) throws -> (trace: Double, standardError: Double) {
    var options = options
    var (trace, error) = (0.0, 0.0)
    try check(cet_trace_estimate_curvature(handle, &options, &trace, &error))
    return (trace, error)
  }

  /// On a grid that covers the whole spectrum, each node widened to a hundredth of it.
  func density(_ options: cet_estimate_options, points count: Int) throws -> DensityValues {
    var options = options
    let size = Int(options.samples * options.steps)
    var nodes = [Double](repeating: 0, count: size)
    var weights = nodes
    try check(cet_spectral_density_curvature(handle, &options, &nodes, &weights, size))
    let low = nodes.min() ?? 0
    let high = nodes.max() ?? 0
    let width = high > low ? (high - low) / 100 : max(abs(high), 1) / 100
    let (first, last) = (low - 4 * width, high + 4 * width)
    let grid = (0..<count).map { first + (last - first) * Double($0) / Double(max(1, count - 1)) }
    var values = [Double](repeating: 0, count: count)
    var errors = values
    try check(
      cet_spectral_density_evaluate(
        nodes, weights, Int(options.samples), Int(options.steps), width, grid, &values, &errors, count))
    return DensityValues(width: width, points: grid.indices.map { (grid[$0], values[$0], errors[$0]) })
  }
}

extension Model {
  /// Names and sizes of the tensors of the parameter vector.
  func parameters() throws -> [(name: String, count: UInt64)] {
    try (0..<cet_model_parameter_count(handle)).map { index in
      var info = try initialized(cet_parameter_info_init)
      try check(cet_model_get_parameter(handle, index, &info))
      return (String(cString: info.name), info.count)
    }
  }
}
