import CetAutodiff
import CetGraph
import CetOperators
import CetQuantize
import CetSpectral
import CetTensor

public struct RunOptions: Sendable {
  public var threads: Int
  /// Bytes that all values of a run may have together; nil: the usual share of what is available.
  public var maxMemory: Int?

  public init(threads: Int, maxMemory: Int? = nil) {
    self.threads = threads
    self.maxMemory = maxMemory
  }
}

/// Forward run with the library's own executor: outputs in graph order, C order, owned by the caller.
public func runModel(
  _ model: LoadedModel, inputs: [(String, Tensor)], _ options: RunOptions, _ monitor: Monitor
) throws(CetError) -> [(name: String, tensor: Tensor)] {
  try monitor.attended { () throws(CetError) in
    try monitor.report(.run, 0, of: 1)
    let outputs = try KernelThreads.run(options.threads) { () throws(CetError) in
      try forward(model.file.model, inputs: inputs, maxMemory: options.maxMemory, Interruption(monitor.check))
    }
    try monitor.report(.run, 1, of: 1)
    return outputs
  }
}

/// Forward run, as `runModel`, of samples of one batch of a calibration, from number `first` on; nil where none are left.
/// - Parameters:
///   - data: fitted to the model.
///   - batchSize: nil: what the model fixes, else the usual.
public func runSamples(
  _ model: LoadedModel, _ data: Calibration.Batch, first: Int, batchSize: Int?, _ options: RunOptions, _ monitor: Monitor
) throws(CetError) -> (count: Int, outputs: [(name: String, tensor: Tensor)])? {
  guard first < data.sampleCount else { return nil }
  let fixed = SampleAxes.fixedBatchSize(of: model.requiredInputs)
  if let batchSize, let fixed, batchSize != fixed {
    throw CetError(.invalidArgument, "option batch_size: the model takes batches of \(fixed), got \(batchSize)")
  }
  let count = min(fixed ?? batchSize ?? SamplePolicy.runBatchSize, data.sampleCount - first)
  guard count == fixed ?? count else {
    throw CetError(
      .shapeMismatch,
      "the model takes batches of \(fixed ?? count), the calibration's \(data.sampleCount) samples are no multiple of it")
  }
  let inputs = try data.samples(first..<first + count).inputs.map { ($0.name, $0.tensor) }
  return (count, try runModel(model, inputs: inputs, options, monitor))
}

/// All inputs are known, so every step runs as it is emitted and nothing is differentiated.
func forward(
  _ model: Model, inputs: [(String, Tensor)], maxMemory: Int? = nil, _ interruption: Interruption = Interruption()
) throws(CetError) -> [(name: String, tensor: Tensor)] {
  let constants = Dictionary(inputs, uniquingKeysWith: { $1 })
  let context = ComputeContext(memoryLimit: memoryLimit(maxMemory), interruption: interruption)
  let bound = try BatchProgram(model, inputs: [:], constants: constants, parameters: [], context)
  let names = model.graph.outputs.map(\.name)
  let values = try bound.values(names)
  return try zip(names, values).map { name, value throws(CetError) in
    guard let tensor = bound.emitter.known(value) else { throw CetError(.internal, "output '\(name)' was not computed") }
    return (name, try tensor.rowMajor())
  }
}
