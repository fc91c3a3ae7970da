import CetTensor
import Glibc

/// Lets a thread wait for a computation on another one and do in the meantime what the computation asks of it: the host's
/// callbacks run on the host's thread, and it hears from the call however long a single step takes.
final class Attendance: @unchecked Sendable {
  private final class Order {
    let work: () -> Void
    var isDone = false
    init(_ work: @escaping () -> Void) { self.work = work }
  }
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var orders: [Order] = []
  private var isFinished = false

  init() {
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(changed, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(changed)
    mutex.deallocate()
    changed.deallocate()
  }

  /// On a computing thread: has the attending thread do `work`, and waits for it.
  func ask(_ work: () -> Void) {
    withoutActuallyEscaping(work) { work in
      let order = Order(work)
      pthread_mutex_lock(mutex)
      orders.append(order)
      pthread_cond_broadcast(changed)
      while !order.isDone { pthread_cond_wait(changed, mutex) }
      pthread_mutex_unlock(mutex)
    }
  }

  /// Computes on a thread of its own; this one attends, and does `idle` whenever nothing was asked of it for so long.
  func run<Value>(idleSeconds: Double, idle: () -> Void, _ body: () throws(CetError) -> Value) throws(CetError) -> Value {
    try withoutActuallyEscaping(body) { body throws(CetError) in
      var result: Result<Value, CetError>?
      let job = Job { [self] in
        result = Result { () throws(CetError) in try body() }
        pthread_mutex_lock(mutex)
        isFinished = true
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
      }
      guard let thread = job.start() else { return try body() }
      attend(idleSeconds, idle)
      pthread_join(thread, nil)
      guard let result else { throw CetError(.internal, "a computation ended without a result") }
      return try result.get()
    }
  }

  private func attend(_ seconds: Double, _ idle: () -> Void) {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while !isFinished {
      if let order = orders.first {
        pthread_mutex_unlock(mutex)
        order.work()
        pthread_mutex_lock(mutex)
        orders.removeFirst()
        order.isDone = true
        pthread_cond_broadcast(changed)
      } else {
        var until = timespec()
        clock_gettime(CLOCK_MONOTONIC, &until)
        until.tv_nsec += Int(seconds * 1e9)
        until.tv_sec += until.tv_nsec / 1_000_000_000
        until.tv_nsec %= 1_000_000_000
        if pthread_cond_timedwait(changed, mutex, &until) == ETIMEDOUT, orders.isEmpty, !isFinished {
          pthread_mutex_unlock(mutex)
          idle()
          pthread_mutex_lock(mutex)
        }
      }
    }
  }

  private final class Job {
    private let work: () -> Void
    init(_ work: @escaping () -> Void) { self.work = work }

    /// nil where no thread can be had.
    func start() -> pthread_t? {
      var thread = pthread_t()
      let context = Unmanaged.passRetained(self)
      let failed = pthread_create(&thread, nil, { raw in
        if let raw { Unmanaged<Job>.fromOpaque(raw).takeRetainedValue().work() }
        return nil
      }, context.toOpaque())
      guard failed != 0 else { return thread }
      context.release()
      return nil
    }
  }
}
