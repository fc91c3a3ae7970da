import CetGraph
import CetOperators
import CetTensor

/// A grid that a value may be moved towards by a part of the way (`Scope.probe`), which is fed under a name: a parameter more.
public struct GridProbe: Sendable {
  public let name: String
  let grid: Tensor

  public init(name: String, grid: Tensor) {
    self.name = name
    self.grid = grid
  }
}

/// A model bound to the shapes of one batch.
public final class BatchProgram {
  public let program: Program
  public let emitter: Emitter
  let sources: NamedSources
  /// Initializers that are fed instead of being folded.
  public var parameters: [String: Value] { sources.parameters }
  private let scope: Scope
  private let model: Model
  private let outerNames: Set<String>

  /// - Parameters:
  ///   - inputs: types of the fed graph inputs.
  ///   - constants: graph inputs whose contents are known; shapes computed from them fold.
  ///   - parameters: names of initializers to feed at run time.
  ///   - probes: of values of the graph.
  ///   - grids: values of the graph that are rounded to grids, each with the name under which its grid is fed: a parameter more.
  public init(
    _ model: Model, inputs: [String: TensorType], constants: [String: Tensor] = [:], parameters: [String],
    grids: [String: String] = [:], probes: [String: [GridProbe]] = [:], _ context: ComputeContext
  ) throws(CetError) {
    try model.checkUnfolding()
    self.model = model
    outerNames = Set(model.graph.nodes.flatMap(\.outputs) + model.graph.initializers.map(\.name))
    program = Program()
    emitter = Emitter(program: program, context: context)
    scope = Scope(model: model, emitter: emitter)
    var fed: [String: Value] = [:]
    for (name, grid) in grids.sorted(by: { $0.key < $1.key }) {
      let value = fed[grid] ?? emitter.source(.parameter(grid), TensorType(.float32, [3]))
      fed[grid] = value
      scope.round(name, to: value)
    }
    for (name, list) in probes.sorted(by: { $0.key < $1.key }) {
      for probe in list {
        let part = emitter.source(.parameter(probe.name), TensorType(.float32, []))
        fed[probe.name] = part
        scope.probe(name, emitter.constant(probe.grid), part: part)
      }
    }
    var bound: [String: Value] = [:]
    for (name, type) in inputs.sorted(by: { $0.key < $1.key }) {
      let value = emitter.source(.input(name), type)
      bound[name] = value
      scope.set(name, try scope.read(name, value))
    }
    for (name, tensor) in constants { scope.set(name, emitter.constant(tensor)) }
    let wanted = Set(parameters)
    for initializer in model.graph.initializers where wanted.contains(initializer.name) {
      let type = TensorType(initializer.tensor.type, initializer.tensor.shape)
      let value = emitter.source(.parameter(initializer.name), type)
      fed[initializer.name] = value
      scope.set(initializer.name, value)
    }
    sources = NamedSources(inputs: bound, parameters: fed)
  }

  public convenience init(
    _ model: Model, batch: Batch, parameters: [String], grids: [String: String] = [:], probes: [String: [GridProbe]] = [:],
    _ context: ComputeContext
  ) throws(CetError) {
    try self.init(
      model, inputs: batch.signature.types, constants: batch.constants, parameters: parameters, grids: grids, probes: probes,
      context)
  }

  func parameter(_ name: String) throws(CetError) -> Value {
    guard let value = parameters[name] else {
      throw CetError(.internal, "initializer '\(name)' is not in the model").with(.initializer, name)
    }
    return value
  }

  /// Lowers what these values of the graph need. Values in branches and bodies come with the graph's outputs, when
  /// this batch takes the branch; those of all turns of a loop come as one, side by side.
  public func values(_ names: [String]) throws(CetError) -> [Value] {
    let isOuter = names.map { scope.value($0) != nil || outerNames.contains($0) }
    var outer = zip(names, isOuter).filter(\.1).map(\.0)
    if isOuter.contains(false) { outer += model.graph.outputs.map(\.name) }
    _ = try scope.lower(model.graph, outputs: outer)
    return try names.map { name throws(CetError) in
      if let value = scope.value(name) { return value }
      guard let value = try joined(scope.innerValues(name)) else {
        throw CetError(.invalidModel, "value '\(name)' is not produced by any node")
      }
      return value
    }
  }

  /// Values by name that nothing else is read beside: of what lies behind them only the rows that they need are computed.
  public func outputs(_ names: [String]) throws(CetError) -> [Value] { try SelectionPushdown.outputs(values(names), emitter) }

  /// Values of one shape one after the other: along the first axis, which is a sample or position axis from rank 3 on,
  /// else along a new axis. Of values of several shapes the last.
  private func joined(_ turns: [Value]) throws(CetError) -> Value? {
    guard turns.count > 1, let last = turns.last, turns.allSatisfy({ $0.type == last.type }) else { return turns.last }
    let rows = try last.rank >= 3 ? turns : turns.map { x throws(CetError) in try emitter.reshape(x, [1] + x.shape) }
    return try emitter.emit(Concatenate(axis: 0), rows)[0]
  }
}
