import CetTensor
import Glibc
import Testing

@testable import Cet

/// An allreduce between threads of one process, which play the ranks. The last to come adds, in falling order of the
/// ranks; who waits for a minute gets an error.
final class Meeting: @unchecked Sendable {
  private let size: Int
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let turn = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var given: [Int: UnsafeMutableBufferPointer<Double>] = [:]
  private var round = 0
  private var status: Int32 = 0

  init(_ size: Int) {
    self.size = size
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(turn, nil)
  }

  deinit {
    mutex.deallocate()
    turn.deallocate()
  }

  private func add(_ rank: Int, _ values: UnsafeMutablePointer<Double>, _ count: Int) -> Int32 {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    guard status == 0, given[rank] == nil else { return 1 }
    given[rank] = UnsafeMutableBufferPointer(start: values, count: count)
    if given.count == size {
      if Set(given.values.map(\.count)).count != 1 { status = 3 }
      if status == 0 {
        var sums = [Double](repeating: 0, count: count)
        for rank in (0..<size).reversed() { for i in 0..<count { sums[i] += given[rank]?[i] ?? 0 } }
        for buffer in given.values { for i in 0..<count { buffer[i] = sums[i] } }
      }
      given = [:]
      round += 1
      pthread_cond_broadcast(turn)
      return status
    }
    let mine = round
    var end = timespec()
    clock_gettime(CLOCK_REALTIME, &end)
    end.tv_sec += 60
    while round == mine, status == 0 {
      if pthread_cond_timedwait(turn, mutex, &end) != 0 {
        status = 2
        pthread_cond_broadcast(turn)
      }
    }
    return status
  }

  /// Runs `work` once a rank, all at the same time, and gives what each returned or threw.
  func run<Result>(_ work: @escaping (Communicator) throws -> Result) throws -> [Swift.Result<Result, any Error>] {
    let lock = Lock()
    var results = [Swift.Result<Result, any Error>?](repeating: nil, count: size)
    try Workers(threads: size).forEach(size) { rank in
      let communicator = try Communicator(rank: rank, size: self.size) { self.add(rank, $0, $1) }
      let result = Swift.Result { try work(communicator) }
      lock.withLock { results[rank] = result }
    }
    return try results.map { try #require($0) }
  }
}
