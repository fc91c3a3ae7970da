import CetTensor

/// Values by what they are made for, each made once, when it is first asked for.
public final class Memo<Key: Hashable, Made: Sendable>: @unchecked Sendable {
  private let lock = Lock()
  private var known: [Key: Made] = [:]

  public init() {}

  public func value<Failure>(_ key: Key, _ make: () throws(Failure) -> Made) throws(Failure) -> Made {
    try lock.withLock { () throws(Failure) in
      if let value = known[key] { return value }
      let value = try make()
      known[key] = value
      return value
    }
  }
}
