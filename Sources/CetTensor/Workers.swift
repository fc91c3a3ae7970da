import CKernels
import Glibc

/// Threads that the host brings: calls `body` once for each index below `count`, on any threads and in any order, one after
/// another or at the same time, and returns when all have returned.
public struct HostThreads: Sendable {
  let run: @Sendable (_ count: Int, _ body: (Int) -> Void) -> Void

  public init(_ run: @escaping @Sendable (_ count: Int, _ body: (Int) -> Void) -> Void) { self.run = run }
}

/// Fork-join over independent tasks. The caller's thread is worker 0, so callbacks run on it.
/// Kernels called by a worker run on that worker's thread alone (`SerialKernels`).
public struct Workers: Sendable {
  public let threads: Int
  /// Asked before every task.
  public let interruption: Interruption?
  /// In place of threads of the library's own.
  private let host: HostThreads?

  public init(threads: Int, interruption: Interruption? = nil, host: HostThreads? = nil) {
    self.threads = max(1, threads)
    self.interruption = interruption
    self.host = host
  }

  /// Addresses that a thread takes: its stack, a heap of its own, and OpenBLAS's buffers for it and its caller. With less room
  /// fewer threads do the work.
  private static let threadBytes = (8 + 64 + 2 * 128) << 20

  /// Fewer of them, which are asked to end as these are.
  public func limited(to most: Int) -> Workers { Workers(threads: min(most, threads), interruption: interruption, host: host) }

  /// As many as pay where `count` elements are gone through once: starting and ending a thread takes up to 100 µs.
  public func limited(forOnePassOver count: Int) -> Workers { limited(to: count >> 18) }

  /// The number of processors this process may run on.
  public static var processorCount: Int { ck_processor_count() }

  /// Calls `body(index)` for every index below `count`, in any order and on any worker. The error of the
  /// lowest failing index is thrown. `progress(done)` runs on the caller's thread and may throw to stop.
  public func forEach(_ count: Int, progress: ((Int) throws -> Void)? = nil, _ body: (Int) throws -> Void) throws(CetError) {
    try ordered(count, progress: progress, compute: body) { _, _ in }
  }

  /// Cuts elements into ranges, one a worker, none of them small, and calls `body` for each: for memory that one thread alone
  /// does not read as fast as there is.
  public func split(_ count: Int, _ body: (Range<Int>) throws -> Void) throws(CetError) {
    let pieces = limited(forOnePassOver: count).threads
    try forEach(pieces) { try body(count * $0 / pieces..<count * ($0 + 1) / pieces) }
  }

  /// Calls `compute(index)` on any worker and `combine(index, result)` in ascending order of index, one at a
  /// time: sums made in `combine` are the same for any number of threads.
  public func ordered<Partial>(
    _ count: Int, progress: ((Int) throws -> Void)? = nil,
    compute: (Int) throws -> Partial, combine: (Int, Partial) throws -> Void
  ) throws(CetError) {
    guard count > 0 else { return }
    try withoutActuallyEscaping(compute) { compute throws(CetError) in
      try withoutActuallyEscaping(combine) { combine throws(CetError) in
        let job = Job(
          count: count,
          compute: { index in
            try interruption?.check()
            return try compute(index)
          }, combine: combine)
        if let host, min(threads, count) > 1 {
          // Tasks are taken in order by bodies that run, and none waits but for tasks that were taken: bodies that run one
          // after another do all in the first.
          host.run(min(threads, count)) { index in SerialKernels.run { job.work(progress: index == 0 ? progress : nil) } }
          SerialKernels.run { job.work(progress: progress) }
          if let error = job.firstError { throw error }
          return
        }
        var spawned: [pthread_t] = []
        let isLimited = SystemMemory.isLimited
        for _ in 1..<max(1, min(threads, count)) {
          guard !isLimited || SystemMemory.hasRoom(for: Workers.threadBytes) && SystemMemory.isPrepared() else { break }
          var thread = pthread_t()
          let context = Unmanaged.passRetained(job as AnyJob)
          let failed = pthread_create(&thread, nil, { raw in
            guard let raw else { return nil }
            let job = Unmanaged<AnyJob>.fromOpaque(raw).takeRetainedValue()
            job.begin()
            SerialKernels.run { job.work(progress: nil) }
            return nil
          }, context.toOpaque())
          guard failed == 0 else {
            context.release()
            break
          }
          spawned.append(thread)
          // What there is for the next is known when this one has all that the C library gives a thread.
          if isLimited { job.awaitBegun(spawned.count) }
        }
        SerialKernels.run { job.work(progress: progress) }
        for thread in spawned { pthread_join(thread, nil) }
        if let error = job.firstError { throw error }
      }
    }
  }
}

private class AnyJob: @unchecked Sendable {
  func work(progress: ((Int) throws -> Void)?) {}

  /// Called by each thread first: takes the heap that the C library keeps for it.
  func begin() {}
}

private final class Job<Partial>: AnyJob, @unchecked Sendable {
  private let count: Int
  private let compute: (Int) throws -> Partial
  private let combine: (Int, Partial) throws -> Void
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let turn = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var begun = 0  // threads
  private var next = 0  // the next index to compute
  private var done = 0  // indices below it are combined
  private var stopAt: Int  // indices from here on are not combined
  private(set) var firstError: CetError?

  init(count: Int, compute: @escaping (Int) throws -> Partial, combine: @escaping (Int, Partial) throws -> Void) {
    self.count = count
    self.compute = compute
    self.combine = combine
    stopAt = count
    super.init()
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(turn, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(turn)
    mutex.deallocate()
    turn.deallocate()
  }

  override func begin() {
    // A thread's first piece of memory makes the C library take its heap. A call to malloc that is freed at once may be left out.
    free(strdup(" "))
    pthread_mutex_lock(mutex)
    begun += 1
    pthread_cond_broadcast(turn)
    pthread_mutex_unlock(mutex)
  }

  func awaitBegun(_ count: Int) {
    pthread_mutex_lock(mutex)
    while begun < count { pthread_cond_wait(turn, mutex) }
    pthread_mutex_unlock(mutex)
  }

  override func work(progress: ((Int) throws -> Void)?) {
    while true {
      pthread_mutex_lock(mutex)
      let index = next
      if index >= stopAt {
        pthread_mutex_unlock(mutex)
        return
      }
      next += 1
      pthread_mutex_unlock(mutex)

      let result = Result { try compute(index) }

      pthread_mutex_lock(mutex)
      while done < index && index < stopAt { pthread_cond_wait(turn, mutex) }
      if index < stopAt {
        // Only the worker whose turn it is gets here: `combine` needs no lock, but it holds it anyway
        // because the next worker could not start combining before.
        do {
          try combine(index, try result.get())
          done = index + 1
          try progress?(done)
        } catch {
          firstError = CetError(error)
          stopAt = index
        }
      }
      pthread_cond_broadcast(turn)
      pthread_mutex_unlock(mutex)
    }
  }
}
