/// The one error of the library: a code that the C interface maps to `cet_status`, one line that says what, where, what
/// was expected and what was found, and the parts of that line that a host may want by themselves.
public struct CetError: Error, CustomStringConvertible, Sendable {
  public enum Code: Int32, Sendable {
    case invalidArgument = -1
    case invalidModel = -2
    case unsupportedOperator = -3
    case shapeMismatch = -4
    case notConverged = -5
    case infeasibleBudget = -6
    case io = -7
    case outOfMemory = -8
    case cancelled = -9
    case numeric = -10
    case `internal` = -11
  }

  /// Parts of a message, with C's numbers. Names are as the model has them, whatever characters they hold.
  public enum Detail: Int32, Sendable {
    case node = 1
    case initializer = 2
    case input = 3
    case expected = 4
    case got = 5
  }

  public var code: Code
  public var message: String
  /// What is known of them.
  public private(set) var details: [Detail: String] = [:]
  /// That would have sufficed, where memory did not; 0: not known.
  public private(set) var bytesNeeded = 0

  public init(_ code: Code, _ message: String, bytesNeeded: Int = 0) {
    self.code = code
    self.message = message
    self.bytesNeeded = bytesNeeded
  }

  /// "subject: expected this, got that".
  public init(_ code: Code, _ subject: String, expected: String, got: String) {
    self.init(code, "\(subject.isEmpty ? "" : subject + ": ")expected \(expected), got \(got)")
    details = [.expected: expected, .got: got]
  }

  /// What a closure threw, which does not say that its errors are of this type.
  public init(_ error: any Error) { self = error as? CetError ?? CetError(.internal, "\(error)") }

  public var description: String { message }

  /// The same error, whose message says this already in words of its own.
  public func with(_ detail: Detail, _ text: String) -> CetError {
    var error = self
    error.details[detail] = text
    return error
  }

  /// The same error with text before its message.
  public func prefixed(_ text: String) -> CetError {
    var error = self
    error.message = text + message
    return error
  }

  /// Where an error arose.
  public struct Place: Sendable {
    let detail: Detail?
    let name: String
    let text: String

    /// - Parameter remark: follows the name in the message.
    public static func node(_ name: String, _ remark: String = "") -> Place {
      Place(detail: .node, name: name, text: "node '\(name)'\(remark.isEmpty ? "" : " " + remark)")
    }
    public static func initializer(_ name: String) -> Place {
      Place(detail: .initializer, name: name, text: "initializer '\(name)'")
    }
    public static func attribute(_ name: String) -> Place { Place(detail: nil, name: name, text: "attribute '\(name)'") }
  }

  /// The same error with the place in front, unless the message already starts with a node or an initializer.
  public func at(_ place: Place) -> CetError {
    let isPlaced = details[.node] != nil || details[.initializer] != nil
    var error = isPlaced ? self : prefixed("\(place.text): ")
    if let detail = place.detail, details[detail] == nil { error.details[detail] = place.name }
    return error
  }
}

extension Optional {
  /// `??` whose right side throws the library's errors: the standard operator forgets their type.
  public func or(_ other: @autoclosure () throws(CetError) -> Wrapped) throws(CetError) -> Wrapped {
    if let self { self } else { try other() }
  }
}
