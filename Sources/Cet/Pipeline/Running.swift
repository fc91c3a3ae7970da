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
  let bound = try BatchProgram(model, inputs: [:], constants: constants, parameters: [], ComputeContext(memoryLimit: memoryLimit(nil)))
  let names = model.graph.outputs.map(\.name)
  let values = try bound.values(names)
  return try zip(names, values).map { name, value in
    guard let tensor = bound.emitter.known(value) else { throw CetError(.internal, "output '\(name)' was not computed") }
    return (name, try tensor.rowMajor())
  }
}
