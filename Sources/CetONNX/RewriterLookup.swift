import CetGraph
import CetTensor

/// What the rewriter must know of a message before it copies or changes it.
extension ModelRewriter {
  /// The main graph, all its parts together.
  func graphMessage() throws(CetError) -> WireReader? {
    var reader = WireReader(source.base, 0..<source.byteCount, .model)
    var graph: WireReader?
    while let field = try reader.next() {
      if field.number == ModelField.graph { graph = try reader.message(field, after: graph) } else { try reader.skip(field) }
    }
    return graph
  }

  /// The last value of a string field, as protobuf reads a repeated singular field; "" when absent.
  func string(_ number: Int, of message: WireReader) throws(CetError) -> String {
    var reader = message
    var text = ""
    while let field = try reader.next() {
      if field.number == number { text = try reader.string(field) } else { try reader.skip(field) }
    }
    return text
  }

  func integer(_ number: Int, of message: WireReader) throws(CetError) -> Int64 {
    var reader = message
    var value: Int64 = 0
    while let field = try reader.next() {
      if field.number == number { value = try reader.integer(field) } else { try reader.skip(field) }
    }
    return value
  }

  /// The first output of a node that has a name.
  func firstOutput(of message: WireReader) throws(CetError) -> String {
    var reader = message
    while let field = try reader.next() {
      guard field.number == NodeField.output else {
        try reader.skip(field)
        continue
      }
      let name = try reader.string(field)
      if !name.isEmpty { return name }
    }
    return ""
  }

  func functionKey(_ message: WireReader) throws(CetError) -> FunctionKey {
    FunctionKey(
      domain: canonicalDomain(try string(FunctionField.domain, of: message)), name: try string(FunctionField.name, of: message),
      overload: try string(FunctionField.overload, of: message))
  }

  func sparseTensorName(_ message: WireReader) throws(CetError) -> String {
    var reader = message
    var values: WireReader?
    while let field = try reader.next() {
      if field.number == SparseTensorField.values {
        values = try reader.message(field, after: values)
      } else {
        try reader.skip(field)
      }
    }
    return try values.map { (message) throws(CetError) in try string(TensorField.name, of: message) } ?? ""
  }

  func count(_ number: Int, of message: WireReader) throws(CetError) -> Int {
    var reader = message
    var count = 0
    while let field = try reader.next() {
      if field.number == number { count += 1 }
      try reader.skip(field)
    }
    return count
  }
}
