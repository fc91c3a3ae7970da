import Glibc

/// Calls `body` with NUL-terminated copies of the strings.
func withCStrings<Result>(
  _ strings: [String], _ body: (UnsafeBufferPointer<UnsafePointer<CChar>?>) throws -> Result
) rethrows -> Result {
  let copies = strings.map { strdup($0) }
  defer { copies.forEach { free($0) } }
  return try copies.map { UnsafePointer($0) }.withUnsafeBufferPointer { try body($0) }
}
