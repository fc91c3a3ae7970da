import CCet

/// One float output of a run; rows are samples.
struct OutputValues {
  var name: String
  var shape: [Int]
  var values: [Float]
}

extension CalibrationSet {
  /// The arrays of one batch that a model asks for, cut into slices of at most `size` samples.
  func slices(of batch: Int, inputs names: [String], size: Int) throws -> [[NamedArray]] {
    let arrays = try names.map { name in
      var view = cet_tensor()
      try check(cet_calibration_get_array(handle, batch, name, &view))
      let shape = Array(UnsafeBufferPointer(start: view.shape, count: Int(view.rank)))
      guard let samples = shape.first, samples > 0 else { throw Failure("array '\(name)' has no samples on axis 0") }
      return NamedArray(
        name: name, type: view.element_type, shape: shape,
        bytes: UnsafeRawBufferPointer(start: view.data, count: Int(clamping: view.byte_size)))
    }
    guard let samples = arrays.first?.samples else { throw Failure("the model has no inputs") }
    for array in arrays where array.samples != samples {
      throw Failure("array '\(array.name)' has \(array.samples) samples, '\(arrays[0].name)' has \(samples)")
    }
    return stride(from: 0, to: samples, by: size).map { start in
      arrays.map { $0.samples(start..<min(samples, start + size)) }
    }
  }

  var batchCount: Int { cet_calibration_batch_count(handle) }
}

/// An array that the calibration lends; valid as long as that.
struct NamedArray {
  var name: String
  var type: cet_element_type
  var shape: [Int64]
  var bytes: UnsafeRawBufferPointer

  var samples: Int { Int(shape.first ?? 0) }

  func samples(_ range: Range<Int>) -> NamedArray {
    let row = bytes.count / max(1, samples)
    var result = self
    result.shape[0] = Int64(range.count)
    result.bytes = UnsafeRawBufferPointer(rebasing: bytes[range.lowerBound * row..<range.upperBound * row])
    return result
  }
}

extension Model {
  /// The float outputs of the model for these inputs.
  func run(_ inputs: [NamedArray], threads: UInt32) throws -> [OutputValues] {
    var options: cet_run_options = try initialized(cet_run_options_init)
    options.threads = threads
    var outputs: OpaquePointer?
    try withCStrings(inputs.map(\.name)) { names in
      // One buffer for all shapes, so that the tensors can point into it.
      let shapes = inputs.flatMap(\.shape)
      try shapes.withUnsafeBufferPointer { shapes in
        var offset = 0
        let tensors = zip(inputs, names).map { input, name in
          defer { offset += input.shape.count }
          return cet_tensor(
            name: name, data: input.bytes.baseAddress, byte_size: UInt64(input.bytes.count),
            shape: shapes.baseAddress.map { $0 + offset }, rank: UInt32(input.shape.count), element_type: input.type)
        }
        try check(cet_run(handle, tensors, tensors.count, &options, &outputs))
      }
    }
    defer { cet_outputs_free(outputs) }
    return try (0..<cet_outputs_count(outputs)).compactMap { index in
      var tensor = cet_tensor()
      try check(cet_outputs_get(outputs, index, &tensor))
      guard tensor.element_type == CET_FLOAT32 else { return nil }
      let values = UnsafeRawBufferPointer(start: tensor.data, count: Int(clamping: tensor.byte_size))
      return OutputValues(
        name: String(cString: tensor.name),
        shape: UnsafeBufferPointer(start: tensor.shape, count: Int(tensor.rank)).map { Int($0) },
        values: Array(values.bindMemory(to: Float.self)))
    }
  }
}
