import CetAutodiff
import CetGraph
import CetOperators
import CetSpectral
import CetTensor

/// Forward run with the library's own executor: outputs in graph order, C order, owned by the caller.
public func runModel(
  _ model: LoadedModel, inputs: [(String, Tensor)], threads: Int
) throws -> [(name: String, tensor: Tensor)] {
  try forward(model.file.model, inputs: inputs)
}

/// All inputs are known, so every step runs as it is emitted and nothing is differentiated.
func forward(_ model: Model, inputs: [(String, Tensor)]) throws -> [(name: String, tensor: Tensor)] {
  let constants = Dictionary(inputs, uniquingKeysWith: { $1 })
  let bound = try BatchProgram(model, inputs: [:], constants: constants, parameters: [], ComputeContext())
  let names = model.graph.outputs.map(\.name)
  let values = try bound.values(names)
  return try zip(names, values).map { name, value in
    guard let tensor = bound.emitter.known(value) else { throw CetError(.internal, "output '\(name)' was not computed") }
    return (name, try tensor.rowMajor())
  }
}

/// The second derivative of the mean loss over the calibration samples in the parameter vector.
public final class Curvature: LinearMap, @unchecked Sendable {
  private let map: CurvatureOperator
  public let parameters: [ParameterInfo]
  public var dimension: Int { map.dimension }
  private let model: LoadedModel
  private let properties: [Fingerprint.Field]

  /// What the curvature is of.
  public var fingerprint: Fingerprint {
    Fingerprint([.init("model_sha256", model.sha256)] + properties)
  }

  /// - Parameter data: fitted to the model.
  public init(_ model: LoadedModel, _ data: Calibration, _ options: CurvatureOptions) throws {
    try options.validate()
    let samples = try data.prefix(options.samples)
    let asked = options.loss ?? (samples.hasLabels ? .crossEntropy : nil)
    let session = try Session(
      model, samples, loss: asked, output: options.output, batchSize: options.batchSize,
      parts: Session.curvatureParts, threads: options.threads, monitor: Monitor())
    let names = model.found.layers.map(\.name)
    var wanted: Set<Int> = []
    for pattern in options.only { wanted.formUnion(try NamePattern(pattern).indices(in: names, use: "only")) }
    var left = options.only.isEmpty ? [] : Set(names.indices).subtracting(wanted)
    for pattern in options.keep { left.formUnion(try NamePattern(pattern).indices(in: names, use: "keep")) }
    var slots: [ParameterSlot] = []
    var offset = 0
    for (index, layer) in model.found.layers.enumerated() where !left.contains(index) {
      slots.append(ParameterSlot(name: layer.name, shape: layer.shape, offset: offset))
      offset += layer.count
    }
    guard offset > 0 else { throw CetError(.invalidArgument, "the model has no parameters to differentiate") }
    parameters = slots.map { ParameterInfo(name: $0.name, shape: $0.shape, offset: $0.offset, count: $0.count) }
    self.model = model
    properties = [
      .init("data", Fingerprint.text(of: samples)), .init("loss", session.loss.rawValue),
      .init("curvature", options.curvature.rawValue), .init("output", session.engine.output),
      .init("parameters", Fingerprint.text(of: parameters)),
      .init("batches", session.batches.map { String($0.sampleCount) }.joined(separator: " ")),
    ]
    // What products share is kept within half of the limit; the other half is for the runs themselves.
    map = try CurvatureOperator(
      model: session.engine.model, output: session.engine.output, parameters: slots, batches: session.batches,
      loss: session.loss, curvature: options.curvature, workers: session.engine.workers,
      context: session.engine.context, cacheBytes: (options.maxMemory ?? 8 << 30) / 2)
  }

  /// hv = H·v, the mean over samples; `dimension` floats each.
  public func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws { try map.apply(v, result) }
  public func apply(_ v: UnsafePointer<Float>, count: Int, _ result: UnsafeMutablePointer<Float>) throws {
    try map.apply(v, count: count, result)
  }
  public func gradient(_ result: UnsafeMutablePointer<Float>) throws { try map.gradient(result) }
  public func loss() throws -> Double { try map.loss() }
}
