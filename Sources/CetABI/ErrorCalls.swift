import CCet
import CetTensor

/// An error that outlives the thread's next call. Its functions leave the thread's own error alone, so that they may be
/// called wherever it is handled.
final class ErrorObject: HandleObject {
  override class var tag: UInt64 { 0x6572_726f_725f_7463 }
  override class var kind: String { "error" }
  let error: CetError
  let message: UnsafePointer<CChar>
  let details: [Int32: UnsafePointer<CChar>]

  init(_ error: CetError) throws(CetError) {
    self.error = error
    let memory = BorrowedMemory()
    message = try memory.string(error.message)
    var details: [Int32: UnsafePointer<CChar>] = [:]
    for (detail, text) in error.details { details[detail.rawValue] = try memory.string(text) }
    self.details = details
    super.init(memory)
  }

  /// nil for NULL, which stands for no error, and for what is no such handle.
  static func at(_ handle: OpaquePointer?) -> ErrorObject? { try? Handle.get(handle, as: ErrorObject.self) }
}

@implementation @_cdecl("cet_error_copy_last")
public func cet_error_copy_last() -> OpaquePointer? {
  guard let error = LastError.error else { return nil }
  return try? Handle.make(ErrorObject(error))
}

@implementation @_cdecl("cet_error_status")
public func cet_error_status(_ error: OpaquePointer?) -> cet_status {
  ErrorObject.at(error)?.error.code.rawValue ?? Int32(CET_OK)
}

@implementation @_cdecl("cet_error_message")
public func cet_error_message(_ error: OpaquePointer?) -> UnsafePointer<CChar>? {
  ErrorObject.at(error)?.message ?? StaticText.empty
}

@implementation @_cdecl("cet_error_get")
public func cet_error_get(_ error: OpaquePointer?, _ detail: cet_error_detail) -> UnsafePointer<CChar>? {
  ErrorObject.at(error)?.details[detail]
}

@implementation @_cdecl("cet_error_bytes_needed")
public func cet_error_bytes_needed(_ error: OpaquePointer?) -> UInt64 {
  UInt64(clamping: ErrorObject.at(error)?.error.bytesNeeded ?? 0)
}

@implementation @_cdecl("cet_error_free")
public func cet_error_free(_ error: OpaquePointer?) { Handle.free(error, as: ErrorObject.self) }
