import CetTensor

/// Processes that hold parts of the calibration samples, and how they add numbers. Every process makes the same calls
/// in the same order.
public final class Communicator: @unchecked Sendable {
  public let rank: Int
  public let size: Int
  private let sum: (UnsafeMutablePointer<Double>, Int) -> Int32
  /// Failures that all processes know of.
  public private(set) var failures = 0
  private var broken: CetError?

  /// - Parameter sum: replaces numbers by their sums over all processes; gives 0 when it succeeded.
  public init(rank: Int, size: Int, sum: @escaping (UnsafeMutablePointer<Double>, Int) -> Int32) throws(CetError) {
    guard size >= 1, size <= ShardTree.leafCount else {
      throw CetError(.invalidArgument, "communicator", expected: "1 to \(ShardTree.leafCount) ranks", got: "\(size)")
    }
    guard rank >= 0, rank < size else {
      throw CetError(.invalidArgument, "communicator", expected: "a rank below the size, \(size)", got: "\(rank)")
    }
    self.rank = rank
    self.size = size
    self.sum = sum
  }

  /// Sums over all processes, in place.
  func add(_ values: UnsafeMutablePointer<Double>, count: Int) throws(CetError) {
    if let broken { throw broken }
    let status = sum(values, count)
    guard status == 0 else {
      // Who got how far is not known any more: no call can be made together after this one.
      let error = CetError(.cancelled, "rank \(rank) of \(size): the communicator's sum returned \(status)")
      broken = error
      failures += 1
      throw error
    }
  }

  /// What each process gives, in the order of the ranks. Whole numbers up to 2⁵³ in magnitude.
  public func gather(_ mine: [Double]) throws(CetError) -> [[Double]] {
    var all = [Double](repeating: 0, count: size * mine.count)
    all.replaceSubrange(rank * mine.count..<(rank + 1) * mine.count, with: mine)
    try all.withUnsafeMutableBufferPointer { buffer throws(CetError) in
      if let base = buffer.baseAddress { try add(base, count: buffer.count) }
    }
    return (0..<size).map { Array(all[$0 * mine.count..<($0 + 1) * mine.count]) }
  }

  /// The least of what the processes give: for choices that depend on a machine's memory and must be the same for all.
  public func least(_ value: Int) throws(CetError) -> Int {
    let all = try gather([Double(min(value, 1 << 53))])
    return all.reduce(value) { min($0, Int($1[0])) }
  }

  /// Work of this process that may fail. When it fails anywhere, it fails everywhere: here with its own error, on the
  /// others with the same code and the rank, so that none waits for one that has given up.
  public func agree<Result>(_ work: () throws -> Result) throws(CetError) -> Result {
    let result = Swift.Result { try work() }.mapError { CetError($0) }
    var code = 0
    if case .failure(let error) = result { code = Int(error.code.rawValue) }
    if let broken {
      if case .failure(let error) = result { throw error }
      throw broken
    }
    let codes = try gather([Double(code)])
    if let failed = codes.firstIndex(where: { $0[0] != 0 }) {
      failures += 1
      if case .failure(let error) = result { throw error }
      throw CetError(
        CetError.Code(rawValue: Int32(codes[failed][0])) ?? .internal,
        "rank \(failed) of \(size) failed; its own message says why")
    }
    return try result.get()
  }
}

extension Optional where Wrapped == Communicator {
  public func agree<Result>(_ work: () throws -> Result) throws(CetError) -> Result {
    if let self { return try self.agree(work) }
    do { return try work() } catch { throw CetError(error) }
  }
}
