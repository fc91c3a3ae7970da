import CCet

/// Throws what the library says when a call failed.
func check(_ status: cet_status) throws {
  guard status == CET_OK else { throw Failure(status: status) }
}

/// An option or info struct of the library, zeroed and with its size set.
func initialized<T>(
  _ initialize: (UnsafeMutablePointer<T>?, Int) -> cet_status
) throws -> T {
  try withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { memory in
    try check(initialize(memory.baseAddress, MemoryLayout<T>.size))
    return memory[0]
  }
}

/// A handle that a call of the library made.
private func made(_ create: (UnsafeMutablePointer<OpaquePointer?>) -> cet_status) throws -> OpaquePointer {
  var handle: OpaquePointer?
  try check(create(&handle))
  guard let handle else { throw Failure("the library returned no handle") }
  return handle
}

/// A string that the library made.
private func madeString(_ create: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> cet_status) throws -> String {
  var text: UnsafeMutablePointer<CChar>?
  try check(create(&text))
  guard let text else { throw Failure("the library returned no text") }
  defer { cet_free(text) }
  return String(cString: text)
}

/// Lines that a handle has for people.
private func readNotes(
  _ count: Int, _ get: (Int, UnsafeMutablePointer<UnsafePointer<CChar>?>) -> cet_status
) throws -> [String] {
  try (0..<count).compactMap { index in
    var note: UnsafePointer<CChar>?
    try check(get(index, &note))
    return note.map { String(cString: $0) }
  }
}

final class Model {
  let handle: OpaquePointer
  /// Of the file, without external data.
  let byteCount: UInt64

  init(path: String) throws {
    handle = try made { cet_model_load_file(path, $0) }
    byteCount = try fileSize(path)
  }

  init(bytes: [UInt8]) throws {
    handle = try made { cet_model_load_memory(bytes, bytes.count, $0) }
    byteCount = UInt64(bytes.count)
  }

  deinit { cet_model_free(handle) }

  /// Whether the model or some of its external data was loaded from this file.
  func reads(_ path: String) throws -> Bool {
    var reads: UInt32 = 0
    try check(cet_model_reads_file(handle, path, &reads))
    return reads != 0
  }

  /// How many samples the model takes at a time; nil when some input leaves it open.
  func fixedBatchSize() throws -> UInt32? {
    var size: UInt32?
    for index in 0..<cet_model_input_count(handle) {
      var info = try initialized(cet_value_info_init)
      try check(cet_model_get_input(handle, index, &info))
      guard let first = info.shape else { return nil }
      guard info.rank > 0 else { continue }
      guard first.pointee >= 0 else { return nil }
      size = size ?? UInt32(clamping: first.pointee)
    }
    return size
  }

  func inspectJSON() throws -> String { try madeString { cet_model_inspect_json(handle, $0) } }
}

final class CalibrationSet {
  let handle: OpaquePointer
  init(path: String) throws { handle = try made { cet_calibration_load_npz(path, $0) } }
  deinit { cet_calibration_free(handle) }

  var batchCount: Int { cet_calibration_batch_count(handle) }
  var sampleCount: Int { Int(clamping: cet_calibration_sample_count(handle)) }
}

final class Plan {
  let handle: OpaquePointer
  fileprivate init(handle: OpaquePointer) { self.handle = handle }
  deinit { cet_plan_free(handle) }

  static func make(_ model: Model, _ data: CalibrationSet, _ options: cet_plan_options) throws -> Plan {
    var options = options
    return Plan(handle: try made { cet_plan(model.handle, data.handle, &options, $0) })
  }

  /// For another budget, from the sensitivity table that `source` carries.
  static func make(_ model: Model, from source: Plan, _ options: cet_plan_options) throws -> Plan {
    var options = options
    return Plan(handle: try made { cet_plan_with_sensitivity(model.handle, source.handle, &options, $0) })
  }

  static func read(_ text: String, name: String) throws -> Plan {
    do {
      return Plan(handle: try made { cet_plan_from_json(text, $0) })
    } catch var failure as Failure {
      failure.message = "plan '\(name)': \(failure.message)"
      throw failure
    }
  }

  static func carriedOut(in quantized: Quantized) throws -> Plan {
    Plan(handle: try made { cet_quantized_get_plan(quantized.handle, $0) })
  }

  func json() throws -> String { try madeString { cet_plan_to_json(handle, $0) } }

  /// Whether its files have large tensors beside them, also below 2 GiB.
  func putsDataBeside() throws -> Bool { try PlanDocument(json())?.options?.external_data ?? false }

  /// Whether the plan was rounded and measured, so that its file's size is known to the byte.
  func isJudged() throws -> Bool { try json().firstRange(of: "\"judgement\": null") == nil }

  func notes() throws -> [String] {
    try readNotes(cet_plan_note_count(handle)) { cet_plan_get_note(handle, $0, $1) }
  }
}

/// A model with its samples, whose losses are measured once.
final class Session {
  let handle: OpaquePointer
  private init(handle: OpaquePointer) { self.handle = handle }
  deinit { cet_session_free(handle) }

  static func make(_ model: Model, _ data: CalibrationSet, _ options: cet_plan_options) throws -> Session {
    var options = options
    return Session(handle: try made { cet_session_create(model.handle, data.handle, &options, $0) })
  }

  /// What was measured of the same model and samples with the same options.
  static func read(_ path: String, _ model: Model, _ data: CalibrationSet, _ options: cet_plan_options) throws -> Session {
    var options = options
    let session = Session(handle: try made { cet_session_load(model.handle, path, $0) })
    do {
      try check(cet_session_check(session.handle, data.handle, &options))
    } catch var failure as Failure {
      failure.message = "'\(path)': \(failure.message)"
      throw failure
    }
    return session
  }

  func plan(_ options: cet_plan_options) throws -> Plan {
    var options = options
    return try Plan.of(self, &options)
  }

  /// Measures what is not known yet, and keeps it in a file, which appears complete or not at all.
  func measure(_ options: cet_plan_options, keptIn path: String) throws {
    try check(cet_session_keep(handle, path))
    try check(cet_session_prepare(handle, options.progress, options.log, options.user_data))
  }
}

extension Plan {
  fileprivate static func of(_ session: Session, _ options: inout cet_plan_options) throws -> Plan {
    Plan(handle: try made { cet_session_plan(session.handle, &options, $0) })
  }

  /// Bytes that carrying the plan out will take at most beyond model and data.
  func quantizingMemory(_ model: Model, _ data: CalibrationSet, _ options: cet_quantize_options) throws -> UInt64 {
    var options = options
    var bytes: UInt64 = 0
    try check(cet_quantize_memory(model.handle, data.handle, handle, &options, &bytes))
    return bytes
  }
}

/// Ends a call of the library after Ctrl-C or SIGTERM.
private let stopsWhenAsked: cet_progress_fn = { _, _, _, _ in Interrupt.isRequested ? 1 : 0 }

final class Quantized {
  let handle: OpaquePointer
  init(_ model: Model, _ data: CalibrationSet?, _ plan: Plan, _ options: cet_quantize_options) throws {
    var options = options
    handle = try made { cet_quantize(model.handle, data?.handle, plan.handle, &options, $0) }
  }
  deinit { cet_quantized_free(handle) }

  /// The file appears complete or not at all.
  func save(_ path: String, encoding: cet_encoding) throws {
    var options: cet_save_options = try initialized(cet_save_options_init)
    options.encoding = encoding
    options.progress = stopsWhenAsked
    try check(cet_quantized_save_file(handle, path, &options))
  }

  func bytes(encoding: cet_encoding) throws -> [UInt8] {
    var options: cet_save_options = try initialized(cet_save_options_init)
    options.encoding = encoding
    options.progress = stopsWhenAsked
    var data: UnsafeMutableRawPointer?
    var size = 0
    try check(cet_quantized_save_memory(handle, &options, &data, &size))
    defer { cet_free(data) }
    return [UInt8](UnsafeRawBufferPointer(start: data, count: size))
  }
}

final class Curvature {
  let handle: OpaquePointer
  init(_ model: Model, _ data: CalibrationSet, _ options: cet_curvature_options) throws {
    var options = options
    handle = try made { cet_curvature_create(model.handle, data.handle, &options, $0) }
  }
  deinit { cet_curvature_free(handle) }

  var dimension: Int { cet_curvature_dimension(handle) }

  func notes() throws -> [String] {
    try readNotes(cet_curvature_note_count(handle)) { cet_curvature_get_note(handle, $0, $1) }
  }

  /// Mean over the samples.
  func loss() throws -> Double {
    var loss = 0.0
    try check(cet_curvature_loss(handle, &loss))
    return loss
  }

  func gradientNorm() throws -> Double {
    var gradient = [Float](repeating: 0, count: dimension)
    try check(cet_curvature_gradient(handle, &gradient, gradient.count))
    return gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
  }

  func eigensolve(_ options: cet_eigensolve_options) throws -> Spectrum {
    var options = options
    return Spectrum(handle: try made { cet_eigensolve_curvature(handle, &options, $0) })
  }
}

final class Spectrum {
  let handle: OpaquePointer
  fileprivate init(handle: OpaquePointer) { self.handle = handle }
  deinit { cet_spectrum_free(handle) }

  static func read(path: String) throws -> Spectrum { Spectrum(handle: try made { cet_spectrum_load_file(path, $0) }) }

  /// The file appears complete or not at all.
  func save(_ path: String) throws { try check(cet_spectrum_save_file(handle, path)) }

  func info() throws -> cet_spectrum_info {
    var info: cet_spectrum_info = try initialized(cet_spectrum_info_init)
    try check(cet_spectrum_get_info(handle, &info))
    return info
  }

  /// By falling magnitude, falling, or rising, as asked for.
  func pairs() throws -> [(value: Double, residualNorm: Double, converged: Bool)] {
    let count = cet_spectrum_count(handle)
    var values = [Double](repeating: 0, count: count)
    var norms = values
    var converged = [UInt8](repeating: 0, count: count)
    try check(cet_spectrum_get_values(handle, &values, count))
    try check(cet_spectrum_get_residual_norms(handle, &norms, count))
    try check(cet_spectrum_get_converged(handle, &converged, count))
    return (0..<count).map { (values[$0], norms[$0], converged[$0] != 0) }
  }
}
