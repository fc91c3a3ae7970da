import CCet

extension Model {
  /// Where every tensor stands in the parameter vector.
  func parameterSlots() throws -> [(name: String, range: Range<Int>)] {
    try (0..<cet_model_parameter_count(handle)).map { index in
      var info = try initialized(cet_parameter_info_init)
      try check(cet_model_get_parameter(handle, index, &info))
      return (String(cString: info.name), range(info))
    }
  }

  func parameterVector() throws -> [Float] {
    var values = [Float](repeating: 0, count: try parameterSlots().last?.range.upperBound ?? 0)
    try check(cet_model_get_parameter_vector(handle, &values, values.count))
    return values
  }
}

extension Curvature {
  func parameterSlots() throws -> [(name: String, range: Range<Int>)] {
    try (0..<cet_curvature_parameter_count(handle)).map { index in
      var info = try initialized(cet_parameter_info_init)
      try check(cet_curvature_get_parameter(handle, index, &info))
      return (String(cString: info.name), range(info))
    }
  }

  func apply(_ vector: [Float]) throws -> [Float] {
    var image = [Float](repeating: 0, count: vector.count)
    try check(cet_curvature_apply(handle, vector, &image, vector.count))
    return image
  }
}

private func range(_ info: cet_parameter_info) -> Range<Int> {
  let start = Int(clamping: info.offset)
  return start..<start + Int(clamping: info.count)
}

extension Spectrum {
  func vector(_ index: Int) throws -> [Float] {
    var values = [Float](repeating: 0, count: Int(clamping: try info().dimension))
    try check(cet_spectrum_get_vector(handle, index, &values, values.count))
    return values
  }
}

extension Quantized {
  /// The weights of a quantized tensor; nil for one that stays float.
  func values(of name: String, count: Int) throws -> [Float]? {
    var index = 0
    guard cet_quantized_find_initializer(handle, name, &index) == CET_OK else { return nil }
    var values = [Float](repeating: 0, count: count)
    try check(cet_quantized_dequantize(handle, index, &values, count))
    return values
  }
}
