/// Bytes that several owners hold together under one limit.
public final class MemoryAccount: @unchecked Sendable {
  private let lock = Lock()
  private var held = 0

  public init() {}

  /// Bytes that all owners hold.
  public var byteCount: Int { lock.withLock { held } }

  /// What one owner holds; given back when it goes.
  public final class Share: @unchecked Sendable {
    private let account: MemoryAccount
    private var byteCount = 0

    public init(of account: MemoryAccount) { self.account = account }

    deinit { account.lock.withLock { account.held -= byteCount } }

    /// Takes more; nil, or what all owners hold already where that leaves too little.
    public func take(_ bytes: Int, limit: Int) -> Int? {
      account.lock.withLock {
        guard Int.saturatingSum(account.held, bytes) <= limit else { return account.held }
        account.held += bytes
        byteCount += bytes
        return nil
      }
    }
  }
}
