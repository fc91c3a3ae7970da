import CetTensor
import Glibc

/// What went wrong in the calling thread's last call. A pthread key, because it must go when the thread ends.
enum LastError {
  private final class Box {
    let error: CetError
    let text: UnsafeMutablePointer<CChar>?

    init(_ error: CetError) {
      self.error = error
      text = strdup(error.message)
    }

    deinit { free(text) }
  }

  private static let key: pthread_key_t? = {
    var key = pthread_key_t()
    return pthread_key_create(&key, { if let raw = $0 { Unmanaged<Box>.fromOpaque(raw).release() } }) == 0 ? key : nil
  }()

  static func clear() {
    guard let key, let old = pthread_getspecific(key) else { return }
    pthread_setspecific(key, nil)
    Unmanaged<Box>.fromOpaque(old).release()
  }

  static func set(_ error: CetError) {
    clear()
    guard let key else { return }
    // One line, whatever a file's names contain.
    var line = error
    line.message = String(String.UnicodeScalarView(error.message.unicodeScalars.map { $0.value < 0x20 ? " " : $0 }))
    let box = Unmanaged.passRetained(Box(line))
    if pthread_setspecific(key, box.toOpaque()) != 0 { box.release() }
  }

  private static var box: Box? {
    guard let key, let raw = pthread_getspecific(key) else { return nil }
    return Unmanaged<Box>.fromOpaque(raw).takeUnretainedValue()
  }

  /// nil when the last call succeeded.
  static var error: CetError? { box?.error }

  /// Its message, until the next call; nil when the last call succeeded.
  static var text: UnsafePointer<CChar>? { box?.text.map { UnsafePointer($0) } }
}
