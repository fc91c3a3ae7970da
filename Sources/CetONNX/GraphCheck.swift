import CetFormats
import CetGraph
import CetTensor

/// What every graph of a model must keep: each value has one producer, and comes before its readers.
enum GraphCheck {
  static func check(_ model: Model) throws(CetError) {
    try checkOpsets(model)
    var scopes: [Set<String>] = []
    try check(model.graph, in: &scopes)
    for function in model.functions {
      do {
        try checkInputs(function.inputs)
        var scopes: [Set<String>] = [Set(function.inputs)]
        try check(function.nodes, in: &scopes)
        try checkOutputs(function.outputs, in: scopes)
      } catch {
        throw error.prefixed("function '\(function.name)': ")
      }
    }
  }

  /// A model that imports no default operator set may hold only nodes of other domains.
  private static func checkOpsets(_ model: Model) throws(CetError) {
    guard let opset = model.opsets[""] else {
      if let node = model.graph.nodes.first(where: { $0.domain.isEmpty }) {
        throw CetError(.invalidModel, "the model imports no operator set for \(node.operatorType)").at(.node(node.displayName))
      }
      return
    }
    guard ModelReader.supportedOpsets.contains(opset) else {
      let range = ModelReader.supportedOpsets
      throw CetError(
        .invalidModel, "", expected: "operator set \(range.lowerBound) to \(range.upperBound)", got: "\(opset)")
    }
  }

  /// `scopes` holds the values of the enclosing graphs that exist at this point, the innermost last.
  private static func check(_ graph: Graph, in scopes: inout [Set<String>]) throws(CetError) {
    var constants: Set<String> = []
    for name in graph.initializers.map(\.name) + graph.opaqueInitializers {
      guard !name.isEmpty else { throw CetError(.invalidModel, "graph '\(graph.name)': an initializer has no name") }
      try checkBytes(of: name)
      let (isNew, known) = constants.insert(name)
      guard isNew else {
        throw CetError(.invalidModel, "the graph defines it twice\(look(name, known))").at(.initializer(name))
      }
    }
    do {
      try checkInputs(graph.inputs.map(\.name))
    } catch {
      throw error.prefixed("graph '\(graph.name)': ")
    }
    scopes.append(constants.union(graph.inputs.map(\.name)))
    defer { scopes.removeLast() }
    try check(graph.nodes, in: &scopes)
    try checkOutputs(graph.outputs.map(\.name), in: scopes)
  }

  private static func check(_ nodes: [Node], in scopes: inout [Set<String>]) throws(CetError) {
    for node in nodes {
      try FileWatch.check()
      for input in node.inputs where !input.isEmpty && !isKnown(input, in: scopes) {
        throw CetError(.invalidModel, "nothing before it produces its input '\(input)'")
          .at(.node(node.displayName)).with(.input, input)
      }
      for graph in node.subgraphs { try check(graph, in: &scopes) }
      for output in node.outputs where !output.isEmpty {
        try checkBytes(of: output)
        let (isNew, known) = scopes[scopes.count - 1].insert(output)
        guard isNew else {
          throw CetError(.invalidModel, "its output '\(output)' exists already\(look(output, known))").at(.node(node.displayName))
        }
      }
    }
  }

  private static func checkInputs(_ inputs: [String]) throws(CetError) {
    var known: Set<String> = []
    for input in inputs {
      guard !input.isEmpty else { throw CetError(.invalidModel, "an input has no name") }
      try checkBytes(of: input)
      let (isNew, other) = known.insert(input)
      guard isNew else { throw CetError(.invalidModel, "input '\(input)' is listed twice\(look(input, other))") }
    }
  }

  private static func checkOutputs(_ outputs: [String], in scopes: [Set<String>]) throws(CetError) {
    for output in outputs where !isKnown(output, in: scopes) {
      throw CetError(.invalidModel, "output '\(output)': nothing in the graph produces it")
    }
  }

  /// A name with a zero byte would end there in the C interface.
  private static func checkBytes(of name: String) throws(CetError) {
    guard !name.utf8.contains(0) else {
      throw CetError(.invalidModel, "value '\(name.prefix { $0 != "\0" })…': expected a name without zero bytes")
    }
  }

  /// What is said of a name that another one of the same look stands in the way of.
  private static func look(_ name: String, _ other: String) -> String {
    name.utf8.elementsEqual(other.utf8) ? "" : " (in characters that look the same: names are compared by their look)"
  }

  /// Runtimes compare names byte by byte, Swift by their look: a letter with an accent is the same in one character and in two.
  private static func isKnown(_ name: String, in scopes: [Set<String>]) -> Bool {
    for scope in scopes.reversed() {
      if let place = scope.firstIndex(of: name) { return scope[place].utf8.elementsEqual(name.utf8) }
    }
    return false
  }
}
