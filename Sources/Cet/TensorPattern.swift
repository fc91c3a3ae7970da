import CetFormats
import CetGraph
import CetLayers
import CetTensor

/// What patterns know a weight tensor by: its initializer, and the nodes that read it with their operators.
public struct TensorNames: Sendable, Equatable {
  public var initializer: String
  public var nodes: [String]
  public var operators: [String]

  public init(_ initializer: String, nodes: [String] = [], operators: [String] = []) {
    self.initializer = initializer
    self.nodes = nodes
    self.operators = operators
  }
}

extension LinearLayers {
  var tensorNames: [TensorNames] {
    layers.map { layer in
      // Operators that share a weight are one layer; what only moves its elements says nothing about it.
      let readers = index.readers(of: layer.name).map { index.nodes[$0] }.filter { !$0.weightSlots.isEmpty }
      let nodes = [layer.node] + readers
      return TensorNames(
        layer.name, nodes: nodes.map(\.displayName),
        operators: nodes.flatMap { $0.domain.isEmpty ? [$0.operatorType] : [$0.operatorType, "\($0.domain).\($0.operatorType)"] })
    }
  }
}

/// A pattern over weight tensors: `name:GLOB` is one over initializers, `node:GLOB` over the nodes that read them, `op:GLOB` over
/// the operators of these nodes. Without such a beginning it is one over initializers and nodes.
public struct TensorPattern: Sendable {
  private enum Subject: String, CaseIterable {
    case initializer = "name:"
    case node = "node:"
    case `operator` = "op:"
  }

  public let text: String
  private let subject: Subject?
  private let glob: NamePattern

  public init(_ text: String) {
    self.text = text
    subject = Subject.allCases.first { text.hasPrefix($0.rawValue) }
    glob = NamePattern(String(text.dropFirst(subject?.rawValue.count ?? 0)))
  }

  public func matches(_ tensor: TensorNames) -> Bool { names(of: tensor).contains(where: glob.matches) }

  private func names(of tensor: TensorNames) -> [String] {
    switch subject {
    case .initializer: [tensor.initializer]
    case .node: tensor.nodes
    case .operator: tensor.operators
    case nil: [tensor.initializer] + tensor.nodes
    }
  }

  /// Indices of the tensors that the pattern stands for; an error when there are none, because such a pattern is a typing
  /// mistake. `use` ("keep", "fix") appears in the message.
  public func indices(in tensors: [TensorNames], use: String) throws(CetError) -> [Int] {
    let found = tensors.indices.filter { matches(tensors[$0]) }
    guard found.isEmpty else { return found }
    var known: [String] = []
    for name in tensors.flatMap(names) where !known.contains(name) && known.count < 3 { known.append(name) }
    let examples = known.map { "'\($0)'" }.joined(separator: ", ")
    let list = tensors.isEmpty ? "there are none" : "\(tensors.count), such as \(examples)"
    throw CetError(.invalidArgument, "\(use) pattern '\(text)' matches none of the quantizable tensors (\(list))")
  }
}
