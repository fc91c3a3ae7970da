import CCet
import Cet
import CetTensor
import Glibc

/// The one way from C into Swift: clears the thread's error message, runs the body, and turns what it throws into a
/// status and a message. Every entry point that can fail goes through one of these functions.
@inline(__always)
func boundary(_ body: () throws -> Void) -> cet_status {
  LastError.clear()
  do {
    try body()
    return Int32(CET_OK)
  } catch {
    return report(error)
  }
}

/// For calls that make a handle: the out-parameter is NULL whenever the call fails.
@inline(__always)
func boundary<Object: HandleObject>(
  making out: UnsafeMutablePointer<OpaquePointer?>?, _ name: StaticString, _ body: () throws -> Object
) -> cet_status {
  boundary {
    let out = try required(out, name)
    out.pointee = nil
    try SystemMemory.checkHeadroom()
    out.pointee = try Handle.make(body())
  }
}

/// For getters that return a count: 0 and a message for a bad handle.
@inline(__always)
func boundary<Count: FixedWidthInteger>(counting body: () throws -> Count) -> Count {
  LastError.clear()
  do {
    return try body()
  } catch {
    _ = report(error)
    return 0
  }
}

private func report(_ error: any Error) -> cet_status {
  let known = error as? CetError ?? CetError(.internal, "unexpected error: \(error)")
  LastError.set(known)
  return known.code.rawValue
}

// MARK: Arguments

func invalid(_ message: String) -> CetError { CetError(.invalidArgument, message) }

@inline(__always)
func required<Pointer>(_ pointer: Pointer?, _ name: StaticString) throws(CetError) -> Pointer {
  guard let pointer else { throw invalid("argument '\(name)' is NULL") }
  return pointer
}

/// A C string of the caller as Swift text; refuses bytes that are not UTF-8.
func text(_ pointer: UnsafePointer<CChar>?, _ name: @autoclosure () -> String) throws(CetError) -> String {
  guard let pointer else { throw invalid("argument '\(name())' is NULL") }
  guard let text = String(validatingCString: pointer) else { throw invalid("argument '\(name())' is not UTF-8") }
  return text
}

/// A size or number of the caller as Int.
func size<Value: FixedWidthInteger>(_ value: Value, _ name: StaticString) throws(CetError) -> Int {
  guard let result = Int(exactly: value), result >= 0 else { throw invalid("argument '\(name)' is too large") }
  return result
}

/// The element at a caller's index.
func element<Element>(_ array: [Element], _ index: Int, _ kind: StaticString) throws(CetError) -> Element {
  guard array.indices.contains(index) else {
    throw invalid("\(kind) \(UInt(bitPattern: index)) does not exist, there are \(array.count)")
  }
  return array[index]
}

/// Throws unless a caller's buffer has the length that the result needs.
func checkCount(_ found: Int, _ expected: Int, _ name: StaticString) throws(CetError) {
  guard found == expected else {
    throw CetError(.shapeMismatch, "argument '\(name)'", expected: "\(expected)", got: "\(UInt(bitPattern: found))")
  }
}

/// Throws when memory that a call writes shares bytes with other memory of that call.
func checkDisjoint<A, B>(
  _ a: (base: UnsafePointer<A>, count: Int, name: StaticString),
  _ b: (base: UnsafeMutablePointer<B>, count: Int, name: StaticString)
) throws(CetError) {
  let bytes = (
    Int.saturatingProduct(a.count, MemoryLayout<A>.stride), Int.saturatingProduct(b.count, MemoryLayout<B>.stride))
  if overlaps(UnsafeRawPointer(a.base), bytes.0, UnsafeRawPointer(b.base), bytes.1) {
    throw invalid("arguments '\(a.name)' and '\(b.name)' overlap")
  }
}

/// Whether two stretches of memory share bytes.
func overlaps(_ a: UnsafeRawPointer, _ aBytes: Int, _ b: UnsafeRawPointer, _ bBytes: Int) -> Bool {
  guard aBytes > 0, bBytes > 0 else { return false }
  let (first, second) = (UInt(bitPattern: a), UInt(bitPattern: b))
  return first < second ? second - first < UInt(aBytes) : first - second < UInt(bBytes)
}

// MARK: Memory for the caller

/// A NUL-terminated copy for cet_free().
func copyForCaller(_ text: String) throws(CetError) -> UnsafeMutablePointer<CChar> {
  let count = text.utf8.count
  guard let copy = strdup(text) else { throw CetError(.outOfMemory, "cannot allocate \(count) bytes", bytesNeeded: count) }
  return copy
}

/// A copy for cet_free(); never NULL, also for no bytes.
func copyForCaller(_ bytes: [UInt8]) throws(CetError) -> UnsafeMutableRawPointer {
  guard let copy = malloc(max(1, bytes.count)) else {
    throw CetError(.outOfMemory, "cannot allocate \(bytes.count) bytes", bytesNeeded: bytes.count)
  }
  bytes.withUnsafeBytes { copy.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(copy), byteCount: $0.count) }
  return copy
}
