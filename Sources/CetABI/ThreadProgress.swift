import CCet
import Cet
import CetTensor
import Glibc

/// The progress of a thread's calls that take none. A pthread key, because it must go when the thread ends.
enum ThreadProgress {
  private struct Hook {
    let function: @convention(c) (cet_phase, UInt64, UInt64, UnsafeMutableRawPointer?) -> Int32
    let userData: UnsafeMutableRawPointer?
  }

  private static let key: pthread_key_t? = {
    var key = pthread_key_t()
    return pthread_key_create(&key, { $0?.deallocate() }) == 0 ? key : nil
  }()

  private static var hook: Hook? {
    guard let key, let raw = pthread_getspecific(key) else { return nil }
    return raw.load(as: Hook.self)
  }

  static func set(_ progress: cet_progress_fn?, _ userData: UnsafeMutableRawPointer?) throws(CetError) {
    guard let key else { throw CetError(.outOfMemory, "cannot keep a value for this thread") }
    let old = pthread_getspecific(key)
    var new: UnsafeMutableRawPointer?
    if let progress {
      new = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<Hook>.size, alignment: MemoryLayout<Hook>.alignment)
      new?.initializeMemory(as: Hook.self, to: Hook(function: progress, userData: userData))
    }
    guard pthread_setspecific(key, new) == 0 else {
      new?.deallocate()
      throw CetError(.outOfMemory, "cannot keep a value for this thread")
    }
    old?.deallocate()
  }

  /// What a call without callbacks of its own tells the thread's.
  static var monitor: Monitor {
    let hook = hook
    return CetABI.monitor(hook?.function, nil, hook?.userData)
  }

  /// Runs a call that reads or writes files.
  static func watching<Value>(_ body: () throws -> Value) throws -> Value {
    guard let hook else { return try body() }
    return try FileWatch { direction, done, total in
      let phase = direction == .reading ? CET_PHASE_READ : CET_PHASE_WRITE
      return hook.function(Int32(phase), UInt64(clamping: done), UInt64(clamping: total), hook.userData) == 0
    }.during(body)
  }
}

@implementation @_cdecl("cet_set_progress")
public func cet_set_progress(_ progress: cet_progress_fn?, _ userData: UnsafeMutableRawPointer?) -> cet_status {
  boundary { try ThreadProgress.set(progress, userData) }
}
