import Glibc

/// The calling thread's error message, in memory that the thread owns. A pthread key, because the text must go when
/// the thread ends.
enum LastError {
  private static let key: pthread_key_t? = {
    var key = pthread_key_t()
    return pthread_key_create(&key, { free($0) }) == 0 ? key : nil
  }()

  static func clear() {
    guard let key, let old = pthread_getspecific(key) else { return }
    pthread_setspecific(key, nil)
    free(old)
  }

  static func set(_ message: String) {
    clear()
    // One line, whatever a file's names contain.
    let line = String(String.UnicodeScalarView(message.unicodeScalars.map { $0.value < 0x20 ? " " : $0 }))
    guard let key, let copy = strdup(line) else { return }
    if pthread_setspecific(key, copy) != 0 { free(copy) }
  }

  /// nil when the last call succeeded.
  static var text: UnsafePointer<CChar>? {
    guard let key, let raw = pthread_getspecific(key) else { return nil }
    return UnsafePointer(raw.assumingMemoryBound(to: CChar.self))
  }
}
