import CetTensor

/// Typed access to a JSON value; errors name the member's path ("tensors[3].bits").
public struct JSONFields {
  public let value: JSON
  let path: String
  /// What messages call the document.
  let document: String

  public init(_ value: JSON, document: String, path: String = "") {
    self.value = value
    self.document = document
    self.path = path
  }

  private func inside(_ value: JSON, path: String) -> JSONFields {
    JSONFields(value, document: document, path: path)
  }

  public func error(_ text: String) -> CetError {
    CetError(.invalidArgument, "\(document), \(path.isEmpty ? "document" : path): \(text)")
  }

  private func inner(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

  /// nil when the member is missing or null.
  public func optional(_ name: String) throws(CetError) -> JSONFields? {
    guard case .object(let members) = value else { throw error("expected an object") }
    guard let member = members.first(where: { $0.name == name }), member.value != .null else { return nil }
    return inside(member.value, path: inner(name))
  }

  public func required(_ name: String) throws(CetError) -> JSONFields {
    guard let field = try optional(name) else { throw inside(.null, path: inner(name)).error("is missing") }
    return field
  }

  public func array() throws(CetError) -> [JSONFields] {
    guard case .array(let items) = value else { throw error("expected an array") }
    return items.enumerated().map { inside($1, path: "\(path)[\($0)]") }
  }

  public func members() throws(CetError) -> [(name: String, field: JSONFields)] {
    guard case .object(let members) = value else { throw error("expected an object") }
    return members.map { ($0.name, inside($0.value, path: inner($0.name))) }
  }

  public func string() throws(CetError) -> String {
    guard case .string(let text) = value else { throw error("expected a string") }
    return text
  }

  public func bool() throws(CetError) -> Bool {
    guard case .bool(let flag) = value else { throw error("expected true or false") }
    return flag
  }

  public func double() throws(CetError) -> Double {
    guard case .number(let literal) = value, let number = Double(literal), number.isFinite else {
      throw error("expected a number")
    }
    return number
  }

  public func integer<Value: FixedWidthInteger>(_ range: ClosedRange<Value>) throws(CetError) -> Value {
    guard case .number(let literal) = value, let number = Value(literal) else { throw error("expected an integer") }
    guard range.contains(number) else {
      throw error("expected \(range.lowerBound) to \(range.upperBound), got \(number)")
    }
    return number
  }

  public func choice<Value: RawRepresentable & CaseIterable>(_: Value.Type = Value.self) throws(CetError) -> Value
  where Value.RawValue == String {
    let text = try string()
    guard let value = Value(rawValue: text) else {
      let words = Value.allCases.map(\.rawValue).joined(separator: ", ")
      throw error("expected one of \(words), got '\(text)'")
    }
    return value
  }
}
