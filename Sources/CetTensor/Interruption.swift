/// Whether a long computation should end: asked between its steps, by any thread.
public final class Interruption: @unchecked Sendable {
  private let lock = Lock()
  private var test: (() throws(CetError) -> Void)?

  /// - Parameter test: throws to end the computation.
  public init(_ test: (() throws(CetError) -> Void)? = nil) { self.test = test }

  public func check() throws(CetError) { try lock.withLock { test }?() }

  /// Nothing ends the computation from now on.
  public func forget() { _ = exchange(nil) }

  /// Asks `test` instead while `body` runs.
  public func replaced<Result, Failure>(
    by test: @escaping () throws(CetError) -> Void, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let former = exchange(test)
    defer { _ = exchange(former) }
    return try body()
  }

  private func exchange(_ new: (() throws(CetError) -> Void)?) -> (() throws(CetError) -> Void)? {
    lock.withLock {
      defer { test = new }
      return test
    }
  }
}
