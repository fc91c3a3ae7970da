import CCet
import CetTensor
import Glibc

/// Structs that start with `uint32_t struct_size`: the caller's may be shorter or longer than the library's.
enum SizedStruct {
  /// Sizes of all versions of all structs are multiples of this and below that.
  private static let unit = 8
  private static let limit = 4096

  /// Zeroes the caller's struct and writes its size.
  static func initialize<Value>(_ pointer: UnsafeMutablePointer<Value>?, _ size: Int, _ name: StaticString) throws(CetError) {
    let pointer = try required(pointer, name)
    guard size >= unit, size % unit == 0, size <= limit else {
      throw invalid("\(name): size \(UInt(bitPattern: size)) is not the size of this struct in any version")
    }
    memset(pointer, 0, size)
    UnsafeMutableRawPointer(pointer).storeBytes(of: UInt32(size), as: UInt32.self)
  }

  private static func callersSize(_ pointer: UnsafeRawPointer, _ name: StaticString) throws(CetError) -> Int {
    let size = Int(pointer.load(as: UInt32.self))
    guard size >= unit, size % unit == 0, size <= limit else {
      throw invalid("\(name): struct_size is \(size); call the struct's _init function first")
    }
    return size
  }

  /// The caller's options in the library's layout: `zero` (all bytes 0) with as much of the caller's as both know.
  static func read<Value>(_ pointer: UnsafePointer<Value>?, _ zero: Value, _ name: StaticString) throws(CetError) -> Value {
    guard let pointer else { return zero }
    let raw = UnsafeRawPointer(pointer)
    let size = try callersSize(raw, name)
    let known = MemoryLayout<Value>.size
    for offset in stride(from: known, to: size, by: 1) where raw.load(fromByteOffset: offset, as: UInt8.self) != 0 {
      throw invalid("\(name): an option at byte \(offset) is set that this version of the library does not know")
    }
    var value = zero
    withUnsafeMutableBytes(of: &value) {
      $0.copyMemory(from: UnsafeRawBufferPointer(start: raw, count: min(size, known)))
    }
    return value
  }

  /// Fills the caller's struct as far as its struct_size reaches; what only the caller knows becomes 0.
  static func write<Value>(_ value: Value, to pointer: UnsafeMutablePointer<Value>?, _ name: StaticString) throws(CetError) {
    let pointer = try required(pointer, name)
    let raw = UnsafeMutableRawPointer(pointer)
    let size = try callersSize(raw, name)
    let known = MemoryLayout<Value>.size
    withUnsafeBytes(of: value) { source in
      let start = MemoryLayout<UInt32>.size  // struct_size stays the caller's
      guard let base = source.baseAddress else { return }
      memcpy(raw + start, base + start, min(size, known) - start)
    }
    if size > known { memset(raw + known, 0, size - known) }
  }
}
