import CetGraph
import CetQuantize
import CetTensor

/// What a caller should know of samples and model before trusting the figures: one line each, with what was expected and
/// what was found.
enum SampleNotes {
  /// For calls that fit to the samples.
  /// - Parameters:
  ///   - asked: samples that the caller asked for; nil: all.
  ///   - given: samples that the calibration has.
  ///   - output: graph output that the caller chose for the loss; nil: the first.
  static func fitting(_ graph: Graph, asked: Int?, given: Int, output: String?) -> [String] {
    var notes: [String] = []
    let used = min(asked ?? given, given)
    if let asked, asked > given {
      notes.append("option samples: \(asked) asked for, the calibration has \(given): all of them are used")
    }
    if SamplePolicy.sayLittle(used) {
      notes.append(
        "\(used) calibration sample\(used == 1 ? "" : "s"), expected a few hundred: the loss on new data will be larger than the one reported")
    }
    if output == nil, graph.outputs.count > 1, let first = graph.outputs.first {
      let others = graph.outputs.dropFirst().map { "'\($0.name)'" }
      let named = others.prefix(3).joined(separator: ", ") + (others.count > 3 ? " and \(others.count - 3) more" : "")
      notes.append(
        "the model has \(graph.outputs.count) outputs, the loss reads the first, '\(first.name)': \(named) may change without being seen (option output chooses another)")
    }
    return notes
  }

  /// Inputs whose axis 0 looks like another axis than that of samples.
  static func axes(_ graph: Graph, _ axes: [String: Int], samples: Int) -> [String] {
    let readers = recurrentReaders(graph)
    return graph.requiredInputs.compactMap { input in
      guard axes[input.name] == 0, let shape = input.shape, shape.count > 1 else { return nil }
      let taken = "its \(samples) entries are taken for samples, expected samples on axis 0"
      if let reader = readers[input.name] {
        return "input '\(input.name)' \(input.shapeText): axis 0 is the time axis of node '\(reader.displayName)' (\(reader.operatorType)): \(taken)"
      }
      if case .symbolic(let name) = shape[0], isTime(name) {
        return "input '\(input.name)' \(input.shapeText): axis 0 is named '\(name)': \(taken)"
      }
      let inner = shape.dropFirst().compactMap { size -> String? in
        if case .symbolic(let name) = size, isBatch(name) { return name }
        return nil
      }
      if case .fixed(let size) = shape[0], size > 1, let name = inner.first {
        return "input '\(input.name)' \(input.shapeText): the axis named '\(name)' is not axis 0: \(taken)"
      }
      return nil
    }
  }

  private static func words(_ name: String) -> [Substring] {
    name.lowercased().split { !$0.isLetter && !$0.isNumber }
  }

  private static func isTime(_ name: String) -> Bool {
    let known: Set<Substring> = [
      "time", "timestep", "timesteps", "step", "steps", "seq", "seqlen", "sequence", "length", "len", "frame", "frames", "token",
      "tokens",
    ]
    let words = words(name)
    return words == ["t"] || (!isBatch(name) && words.contains(where: known.contains))
  }

  private static func isBatch(_ name: String) -> Bool {
    let words = words(name)
    return words == ["n"] || words == ["b"] || words.contains { $0.hasPrefix("batch") }
  }

  /// By input, the first recurrent node that goes along axis 0 of it.
  private static func recurrentReaders(_ graph: Graph) -> [String: Node] {
    // Of a value on the way its input, where their axes 0 are one.
    var origins: [String: String] = [:]
    for input in graph.requiredInputs { origins[input.name] = input.name }
    var result: [String: Node] = [:]
    for node in graph.nodes {
      switch node.operatorType {
      case "LSTM", "GRU", "RNN":
        if case .int(let layout)? = node.attributes["layout"], layout != 0 { continue }
        if let input = node.inputs.first.flatMap({ origins[$0] }), result[input] == nil { result[input] = node }
      case "Add", "Cast", "Clip", "Div", "Dropout", "Identity", "LayerNormalization", "MatMul", "Mul", "Relu", "Sigmoid", "Sub", "Tanh":
        if let input = node.inputs.first.flatMap({ origins[$0] }), let output = node.outputs.first { origins[output] = input }
      case "Gather":
        // Rows of a table, one an index.
        if node.inputs.count > 1, origins[node.inputs[0]] == nil, let input = origins[node.inputs[1]], let output = node.outputs.first {
          origins[output] = input
        }
      default: continue
      }
    }
    return result
  }
}
