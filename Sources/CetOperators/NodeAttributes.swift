import CetGraph
import CetTensor

/// A node's attributes by kind; throws when one has another kind than its operator says.
public struct NodeAttributes: Sendable {
  public let node: Node

  public init(_ node: Node) { self.node = node }

  public func int(_ name: String) throws(CetError) -> Int? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .int(let value) = attribute else { throw wrongKind(name, "an integer") }
    return Int(value)
  }

  public func ints(_ name: String) throws(CetError) -> [Int]? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .ints(let values) = attribute else { throw wrongKind(name, "a list of integers") }
    return values.map { Int($0) }
  }

  public func float(_ name: String) throws(CetError) -> Double? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .float(let value) = attribute else { throw wrongKind(name, "a float") }
    return Double(value)
  }

  public func floats(_ name: String) throws(CetError) -> [Double]? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .floats(let values) = attribute else { throw wrongKind(name, "a list of floats") }
    return values.map { Double($0) }
  }

  public func strings(_ name: String) throws(CetError) -> [String]? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .strings(let values) = attribute else { throw wrongKind(name, "a list of strings") }
    return values.map { String(decoding: $0, as: UTF8.self) }
  }

  public func graph(_ name: String) throws(CetError) -> Graph {
    guard case .graph(let graph) = node.attributes[name] else { throw wrongKind(name, "a graph") }
    return graph
  }

  public func string(_ name: String, _ standard: String) throws(CetError) -> String {
    guard let attribute = node.attributes[name] else { return standard }
    guard case .string(let value) = attribute else { throw wrongKind(name, "a string") }
    return String(decoding: value, as: UTF8.self)
  }

  public func elementType(_ name: String) throws(CetError) -> ElementType? {
    guard let code = try int(name) else { return nil }
    guard let raw = Int32(exactly: code), let type = ElementType(rawValue: raw) else {
      throw CetError(.unsupportedOperator, "attribute '\(name)' names element type \(code), which is unknown")
    }
    return type
  }

  private func wrongKind(_ name: String, _ expected: String) -> CetError {
    CetError(.invalidModel, "attribute '\(name)' is not \(expected)")
  }
}
