import CCet

/// One output of a run; rows are samples.
struct OutputValues {
  var name: String
  var shape: [Int]
  var values: [Double]
}

extension Model {
  /// The outputs for samples of one batch, from number `first` on; no samples where none are left.
  func run(
    _ data: CalibrationSet, batch: Int, first: Int, size: UInt32, threads: UInt32
  ) throws -> (samples: Int, outputs: [OutputValues]) {
    var options: cet_run_options = try initialized(cet_run_options_init)
    options.threads = threads
    options.batch_size = size
    var outputs: OpaquePointer?
    var count: UInt64 = 0
    try check(cet_run_samples(handle, data.handle, batch, UInt64(first), &options, &count, &outputs))
    defer { cet_outputs_free(outputs) }
    return (Int(clamping: count), try (0..<cet_outputs_count(outputs)).compactMap { try OutputValues(outputs, $0) })
  }
}

extension OutputValues {
  /// nil for an output that holds no numbers.
  fileprivate init?(_ outputs: OpaquePointer?, _ index: Int) throws {
    var tensor = cet_tensor()
    try check(cet_outputs_get(outputs, index, &tensor))
    let bytes = UnsafeRawBufferPointer(start: tensor.data, count: Int(clamping: tensor.byte_size))
    func numbers<Number>(_: Number.Type, _ value: (Number) -> Double) -> [Double] { bytes.bindMemory(to: Number.self).map(value) }
    switch tensor.element_type {
    case Int32(CET_FLOAT32): values = numbers(Float.self) { Double($0) }
    case Int32(CET_FLOAT16): values = numbers(Float16.self) { Double($0) }
    case Int32(CET_FLOAT64): values = numbers(Double.self) { $0 }
    case Int32(CET_UINT8), Int32(CET_BOOL): values = numbers(UInt8.self) { Double($0) }
    case Int32(CET_INT8): values = numbers(Int8.self) { Double($0) }
    case Int32(CET_UINT16): values = numbers(UInt16.self) { Double($0) }
    case Int32(CET_INT16): values = numbers(Int16.self) { Double($0) }
    case Int32(CET_UINT32): values = numbers(UInt32.self) { Double($0) }
    case Int32(CET_INT32): values = numbers(Int32.self) { Double($0) }
    case Int32(CET_UINT64): values = numbers(UInt64.self) { Double($0) }
    case Int32(CET_INT64): values = numbers(Int64.self) { Double($0) }
    default: return nil
    }
    name = String(cString: tensor.name)
    shape = UnsafeBufferPointer(start: tensor.shape, count: Int(tensor.rank)).map { Int($0) }
  }
}
