import Glibc

/// Memory that the library reads during a call, freed all at once.
struct CMemory {
  private var blocks: [UnsafeMutableRawPointer] = []

  mutating func text(_ string: String) -> UnsafePointer<CChar> {
    let bytes = string.utf8CString
    let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
    for (index, byte) in bytes.enumerated() { (copy + index).initialize(to: byte) }
    blocks.append(copy)
    return UnsafePointer(copy)
  }

  /// nil for no elements.
  mutating func array<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafePointer<Element>? {
    guard !elements.isEmpty else { return nil }
    let copy = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
    for (index, element) in elements.enumerated() { (copy + index).initialize(to: element) }
    blocks.append(copy)
    return UnsafePointer(copy)
  }

  mutating func list(_ strings: [String]) -> (UnsafePointer<UnsafePointer<CChar>?>?, UInt64) {
    (array(strings.map { Optional(text($0)) }), UInt64(strings.count))
  }

  func free() { for block in blocks { block.deallocate() } }
}

/// Calls `body` with NUL-terminated copies of the strings.
func withCStrings<Result>(
  _ strings: [String], _ body: (UnsafeBufferPointer<UnsafePointer<CChar>?>) throws -> Result
) rethrows -> Result {
  let copies = strings.map { strdup($0) }
  defer { copies.forEach { free($0) } }
  return try copies.map { UnsafePointer($0) }.withUnsafeBufferPointer { try body($0) }
}
