import CCet
import CetTensor

/// The one setting of a whole process: where lines go of calls whose options carry no log.
enum ProcessLog {
  struct Hook: @unchecked Sendable {
    let function: @convention(c) (cet_log_level, UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Void
    let userData: UnsafeMutableRawPointer?
  }

  private static let lock = Lock()
  nonisolated(unsafe) private static var hook: Hook?

  static var current: Hook? { lock.withLock { hook } }

  static func set(_ new: Hook?) { lock.withLock { hook = new } }
}

@implementation @_cdecl("cet_set_log")
public func cet_set_log(_ log: cet_log_fn?, _ userData: UnsafeMutableRawPointer?) {
  ProcessLog.set(log.map { ProcessLog.Hook(function: $0, userData: userData) })
}
