import CetGraph
import CetOperators
import CetTensor

/// Gradients of a batch's summed loss with respect to inner values of the graph (the outputs of its layers).
public final class OutputGradients: Sendable {
  private let executable: Executable
  private let inputs: [String: Value]
  private let parameters: [String: Value]
  private let labels: Value?
  private let reference: Value?
  /// Per asked value the position among the executable's outputs; nil where the loss does not depend on it.
  private let slots: [Int?]

  /// - Parameters:
  ///   - values: graph values to differentiate by.
  ///   - output: graph value that the loss reads.
  ///   - batch: with labels when the loss needs them.
  public init(
    _ model: Model, batch: Batch, values: [String], output: String, loss kind: LossKind, parameters names: [String],
    _ context: ComputeContext
  ) throws {
    let bound = try BatchProgram(
      model, inputs: batch.inputs.mapValues { TensorType($0.type, $0.shape) }, parameters: names, context)
    let e = bound.emitter
    inputs = bound.inputs
    parameters = bound.parameters
    let all = try bound.values(values + [output])
    let z = all[values.count]
    labels = batch.labels.map { e.source(.input("labels"), TensorType(.int64, $0.shape)) }
    reference = kind == .kl || kind == .mse ? e.source(.input("reference output"), z.type) : nil
    let total = try Loss.emit(kind, output: z, labels: labels, reference: reference, e)
    let gradients = try Differentiate.cotangents(of: Array(all.dropLast()), seeds: [total: e.scalar(1)], e)
    var found: [Value] = []
    slots = gradients.map { value in
      guard let value else { return nil }
      found.append(value)
      return found.count - 1
    }
    executable = Executable(bound.program, outputs: found)
  }

  /// One tensor per asked value, nil where the gradient vanishes.
  public func run(
    _ batch: Batch, weights: [String: Tensor], reference tensor: Tensor?, _ context: ComputeContext
  ) throws -> [Tensor?] {
    var feeds: [Int: Tensor] = [:]
    for (name, value) in inputs { feeds[value.id] = batch.inputs[name] }
    for (name, value) in parameters { feeds[value.id] = weights[name] }
    if let labels { feeds[labels.id] = batch.labels }
    if let reference { feeds[reference.id] = tensor }
    let results = try executable.run(feeds, context)
    return slots.map { $0.map { results[$0] } }
  }
}
