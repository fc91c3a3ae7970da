import CetAutodiff
import CetFormats
import CetGraph
import CetLayers
import CetONNX
import CetOperators
import CetTensor

/// What hosts bring a model as, for callers that see no further than here.
public typealias ModelSource = CetONNX.ModelSource

/// A model as it was given, and what in it can be quantized.
public final class LoadedModel: @unchecked Sendable {
  let file: ModelFile
  let found: LinearLayers
  private let lock = Lock()
  private var digest: String?
  let existing: ExistingQuantization

  /// Reads the file; external data is looked for in the file's folder only.
  public convenience init(path: String) throws(CetError) { try self.init(ModelFile(path: path)) }

  /// Copies the bytes.
  public convenience init(bytes: UnsafeRawBufferPointer) throws(CetError) { try self.init(ModelFile(copying: bytes)) }

  /// Reads a model that a host brings; `external` gives its external data by location, nil when it has none.
  public convenience init(
    _ source: ModelSource, external: ((String) throws(CetError) -> ModelSource)?
  ) throws(CetError) {
    try self.init(ModelFile(source, external: external))
  }

  init(_ file: ModelFile) throws(CetError) {
    self.file = file
    found = try LinearLayers(file.model)
    existing = ExistingQuantization(found)
  }

  public var requiredInputs: [ValueInfo] { file.model.graph.requiredInputs }

  public var outputs: [ValueInfo] { file.model.graph.outputs }

  /// What the file says about itself.
  public var metadata: ModelMetadata { ModelMetadata(file.model) }

  /// Whether the model or some of its external data was read from the file at `path`.
  public func reads(path: String) -> Bool { file.reads(path: path) }

  /// Inputs that a caller may feed in place of an initializer of the same name.
  public var overridableInputs: [ValueInfo] {
    let required = Set(requiredInputs.map(\.name))
    return file.model.graph.inputs.filter { !required.contains($0.name) }
  }

  var outputNames: [String] { file.model.graph.outputs.map(\.name) }

  /// All quantizable weights in the order of the parameter vector.
  public var parameters: [ParameterSlot] { found.layers.parameters }

  /// Writes the weights in the order of the parameter vector, whose length is the caller's to know.
  public func copyParameters(to values: UnsafeMutablePointer<Float>) {
    let held = Dictionary(found.model.graph.initializers.map { ($0.name, $0.tensor) }, uniquingKeysWith: { $1 })
    for slot in parameters {
      guard let tensor = held[slot.name], tensor.type == .float32, tensor.count == slot.count else { continue }
      (values + slot.offset).update(from: tensor.floats, count: slot.count)
    }
  }

  /// The model file with external data.
  public var byteCount: Int { file.byteCount + file.externalByteCount }

  /// SHA-256 of the model file, 64 hexadecimal digits.
  public var sha256: String {
    if let known = lock.withLock({ digest }) { return known }
    return made { () throws(Never) in }
  }

  /// Finds the SHA-256, which takes a second for every few hundred megabytes.
  /// - Parameter check: throws to stop; nothing said: as whoever hears of the thread's files wants.
  public func findDigest(_ check: () throws(CetError) -> Void = FileWatch.check) throws(CetError) {
    if lock.withLock({ digest == nil }) { _ = try made(check) }
  }

  private func made<Failure>(_ check: () throws(Failure) -> Void) throws(Failure) -> String {
    let piece = 1 << 24
    var hash = SHA256()
    for first in stride(from: 0, to: file.byteCount, by: piece) {
      try check()
      file.withBytes { hash.update(UnsafeRawBufferPointer(rebasing: $0[first..<min(first + piece, $0.count)])) }
    }
    let made = hash.hexDigest()
    lock.withLock { digest = made }
    return made
  }

  /// Throws when a node cannot be executed, before any work starts. Branches of If are left aside: the data may never
  /// take them.
  func checkOperators() throws(CetError) {
    var called: Set<FunctionKey> = []
    try check(found.inlining.model.graph.nodes, &called)
  }

  /// - Parameter called: functions that were looked into.
  private func check(_ nodes: [Node], _ called: inout Set<FunctionKey>) throws(CetError) {
    for node in nodes {
      if file.model.function(for: node) != nil, !called.insert(node.functionKey).inserted { continue }
      if let obstacle = OperatorRegistry.obstacle(to: node, in: file.model) {
        let quantized = existing.others.isEmpty ? nil : existing.summary
        throw CetError(.unsupportedOperator, "\(obstacle)" + (quantized.map { " (\($0))" } ?? "")).at(.node(node.displayName))
      }
      if node.operatorType != "If" { for body in node.subgraphs { try check(body.nodes, &called) } }
    }
  }

  /// Throws when no weight can be quantized, whatever a plan wants.
  func checkWeights() throws(CetError) {
    guard let first = found.layers.first else {
      let kinds = "float constants of Conv, ConvTranspose, Gemm, MatMul, Einsum, Gather, GatherND, GatherElements, LSTM, GRU or RNN"
      throw CetError(.invalidModel, "the model has no quantizable weights (\(existing.summary ?? kinds))")
    }
    guard let reason = found.obstacle(0), !found.layers.indices.contains(where: { found.obstacle($0) == nil }) else { return }
    throw CetError(.numeric, "nothing is left to quantize: initializer '\(first.name)' \(reason)").with(.initializer, first.name)
  }
}
