import CetTensor
import Glibc

/// What a handle stands for. The tag tells the kinds apart at run time.
class HandleObject {
  class var tag: UInt64 { 0 }
  class var kind: String { "handle" }
  /// Memory behind the pointers that the caller borrows.
  let memory: BorrowedMemory

  init(_ memory: BorrowedMemory = BorrowedMemory()) { self.memory = memory }
}

/// An opaque handle is the address of a box with a tag and a reference. The tag is looked at before anything else,
/// so that NULL, a handle of another kind and a handle freed lately give an error and not a crash; an address that
/// never was a handle cannot be told.
enum Handle {
  private struct Box {
    // The allocator writes its own links over the start of freed memory: the tag lies behind.
    var padding: (UInt64, UInt64) = (0, 0)
    var tag: UInt64
    var object: UnsafeMutableRawPointer
  }

  private static let freedTag: UInt64 = 0x6465_6572_665f_7463

  static func make(_ object: HandleObject) throws(CetError) -> OpaquePointer {
    guard let raw = malloc(MemoryLayout<Box>.size) else { throw CetError(.outOfMemory, "cannot allocate a handle") }
    let box = raw.bindMemory(to: Box.self, capacity: 1)
    box.initialize(to: Box(tag: type(of: object).tag, object: Unmanaged.passRetained(object).toOpaque()))
    HandleCount.add(1)
    return OpaquePointer(box)
  }

  private static func box(_ handle: OpaquePointer) -> UnsafeMutablePointer<Box>? {
    guard UInt(bitPattern: handle) % UInt(MemoryLayout<Box>.alignment) == 0 else { return nil }
    return UnsafeMutablePointer<Box>(handle)
  }

  /// The object of a handle; throws when the handle is NULL, freed, or of another kind.
  @inline(__always)
  static func get<Object: HandleObject>(_ handle: OpaquePointer?, as type: Object.Type = Object.self) throws(CetError) -> Object {
    guard let handle else { throw invalid("the \(Object.kind) handle is NULL") }
    guard let box = box(handle), box.pointee.tag == Object.tag else {
      if Handle.box(handle)?.pointee.tag == freedTag { throw invalid("the \(Object.kind) handle was freed before") }
      throw invalid("the handle is no \(Object.kind) handle")
    }
    let object = Unmanaged<HandleObject>.fromOpaque(box.pointee.object).takeUnretainedValue()
    guard let object = object as? Object else { throw invalid("the handle is no \(Object.kind) handle") }
    return object
  }

  /// Frees a handle of this kind. NULL, and what is no such handle, are left alone.
  static func free<Object: HandleObject>(_ handle: OpaquePointer?, as type: Object.Type) {
    guard let handle, let box = box(handle), box.pointee.tag == Object.tag else { return }
    box.pointee.tag = freedTag
    Unmanaged<HandleObject>.fromOpaque(box.pointee.object).release()
    HandleCount.add(-1)
    Quarantine.put(UnsafeMutableRawPointer(box))
  }
}

/// Boxes that were freed lately stay readable, so that using a handle after its _free is told for sure for a while.
private enum Quarantine {
  private static let lock = Lock()
  private static let capacity = 256
  nonisolated(unsafe) private static var boxes: [UnsafeMutableRawPointer] = []
  nonisolated(unsafe) private static var next = 0

  static func put(_ box: UnsafeMutableRawPointer) {
    let oldest: UnsafeMutableRawPointer? = lock.withLock {
      guard boxes.count == capacity else {
        boxes.append(box)
        return nil
      }
      defer { next = (next + 1) % capacity }
      let oldest = boxes[next]
      boxes[next] = box
      return oldest
    }
    Glibc.free(oldest)
  }
}

enum HandleCount {
  private static let lock = Lock()
  nonisolated(unsafe) private static var live: Int = 0

  static func add(_ change: Int) { lock.withLock { live &+= change } }
  static var value: Int { lock.withLock { live } }
}

/// Strings and arrays that a caller reads through borrowed pointers; freed with the handle. Made before the handle
/// is handed out or under the object's lock.
final class BorrowedMemory {
  private var blocks: [UnsafeMutableRawPointer] = []

  deinit { for block in blocks { Glibc.free(block) } }

  private func allocate(_ byteCount: Int) throws(CetError) -> UnsafeMutableRawPointer {
    guard let block = malloc(max(1, byteCount)) else {
      throw CetError(.outOfMemory, "cannot allocate \(byteCount) bytes", bytesNeeded: byteCount)
    }
    blocks.append(block)
    return block
  }

  func string(_ text: String) throws(CetError) -> UnsafePointer<CChar> {
    let bytes = Array(text.utf8)
    let block = try allocate(bytes.count + 1)
    bytes.withUnsafeBytes { if let base = $0.baseAddress { memcpy(block, base, $0.count) } }
    block.storeBytes(of: 0, toByteOffset: bytes.count, as: UInt8.self)
    return UnsafePointer(block.assumingMemoryBound(to: CChar.self))
  }

  func array<Element: BitwiseCopyable>(_ values: [Element]) throws(CetError) -> UnsafePointer<Element> {
    let byteCount = values.count * MemoryLayout<Element>.stride
    let block = try allocate(byteCount)
    values.withUnsafeBytes { if let base = $0.baseAddress { memcpy(block, base, byteCount) } }
    return UnsafePointer(block.bindMemory(to: Element.self, capacity: max(1, values.count)))
  }

  func shape(_ shape: [Int]) throws(CetError) -> UnsafePointer<Int64> { try array(shape.map(Int64.init)) }
}
