/// The one error of the library: a code that the C interface maps to `cet_status`, and one line that
/// says what, where, what was expected and what was found.
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

  public var code: Code
  public var message: String

  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// What a closure threw, which does not say that its errors are of this type.
  public init(_ error: any Error) { self = error as? CetError ?? CetError(.internal, "\(error)") }

  public var description: String { message }

  /// The same error with the place in front, unless the message already starts with a place of its own.
  public func at(_ place: String) -> CetError {
    message.hasPrefix("node '") || message.hasPrefix("initializer '")
      ? self : CetError(code, "\(place): \(message)")
  }
}

extension Optional {
  /// `??` whose right side throws the library's errors: the standard operator forgets their type.
  public func or(_ other: @autoclosure () throws(CetError) -> Wrapped) throws(CetError) -> Wrapped {
    if let self { self } else { try other() }
  }
}
