import CetTensor
import Glibc

/// Bytes of a .npy file, in order.
protocol ByteSource: AnyObject {
  /// Bytes from the first to the last, as the file system or the archive says.
  var byteCount: Int { get }
  /// Fills the whole buffer or throws.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws(CetError)
  /// Throws unless all bytes were read (and, where the source has a checksum, it is right).
  func finish() throws(CetError)
}

/// NumPy's .npy format, versions 1 to 3: little-endian bool, integers and floats, C or Fortran order.
enum NPY {
  /// What a header says. `type` is the type of the resulting tensor, `width` that of an element in the file.
  struct Header: Equatable {
    var type: ElementType
    var isHalf: Bool
    var isFortran: Bool
    var shape: [Int]
    var width: Int { isHalf ? 2 : type.byteWidth }
  }

  static func read(_ source: ByteSource) throws(CetError) -> Tensor {
    let header = try readHeader(source)
    guard let count = header.shape.validatedCount else {
      throw CetError(.io, "has shape \(header.shape.shapeText), which is too large")
    }
    guard count * header.width <= source.byteCount else {
      throw CetError(
        .io, "has \(source.byteCount) bytes, its shape \(header.shape.shapeText) needs \(count * header.width)")
    }
    // An archive can name, and unpack to, more than there is.
    let held = count * (header.isHalf ? header.width + 4 : header.isFortran ? 2 * header.width : header.width)
    if let available = SystemMemory.availableBytes, held > available {
      throw CetError(.outOfMemory, "needs \(held) bytes for its shape \(header.shape.shapeText), \(available) are available", bytesNeeded: held)
    }
    let raw = try Storage(byteCount: count * header.width)
    try source.read(into: UnsafeMutableRawBufferPointer(start: raw.pointer, count: raw.byteCount))
    try source.finish()
    if header.type == .bool {
      // A Swift Bool must be 0 or 1.
      let bytes = raw.pointer.assumingMemoryBound(to: UInt8.self)
      for index in 0..<count where bytes[index] > 1 { bytes[index] = 1 }
    }
    var tensor: Tensor
    if header.isHalf {
      tensor = try Tensor(uninitialized: .float32, header.shape)
      for first in stride(from: 0, to: count, by: FileWatch.piece) {
        for index in first..<min(first + FileWatch.piece, count) {
          tensor.floats[index] = Float(raw.pointer.load(fromByteOffset: 2 * index, as: Float16.self))
        }
        try FileWatch.check()
      }
    } else {
      tensor = try Tensor(type: header.type, shape: header.shape, storage: raw)
    }
    return header.isFortran ? try fromFortranOrder(tensor) : tensor
  }

  private static func readHeader(_ source: ByteSource) throws(CetError) -> Header {
    let magic = try bytes(8, from: source)
    guard magic.starts(with: [0x93] + Array("NUMPY".utf8)) else { throw CetError(.io, "is no .npy data") }
    let (major, minor) = (magic[6], magic[7])
    guard (1...3).contains(major) else { throw CetError(.io, "has .npy version \(major).\(minor), known are 1 to 3") }
    let length = try bytes(major == 1 ? 2 : 4, from: source).reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= 1 << 16 else { throw CetError(.io, "has a .npy header of \(length) bytes, the limit is \(1 << 16)") }
    var parser = HeaderParser(bytes: try bytes(length, from: source))
    return try parser.header()
  }

  private static func bytes(_ count: Int, from source: ByteSource) throws(CetError) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: count)
    try result.withUnsafeMutableBufferPointer { target throws(CetError) in
      try source.read(into: UnsafeMutableRawBufferPointer(target))
    }
    return result
  }

  private static func fromFortranOrder(_ source: Tensor) throws(CetError) -> Tensor {
    guard source.rank > 1, source.count > 0 else { return source }
    let result = try Tensor(uninitialized: source.type, source.shape)
    switch source.type.byteWidth {
    case 1: try copyFortran(UInt8.self, from: source, to: result)
    case 2: try copyFortran(UInt16.self, from: source, to: result)
    case 4: try copyFortran(UInt32.self, from: source, to: result)
    default: try copyFortran(UInt64.self, from: source, to: result)
    }
    return result
  }

  private static func copyFortran<Word>(_: Word.Type, from source: Tensor, to result: Tensor) throws(CetError) {
    let input = source.pointer.assumingMemoryBound(to: Word.self)
    let output = result.pointer.assumingMemoryBound(to: Word.self)
    let shape = source.shape
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in 1..<shape.count { strides[axis] = strides[axis - 1] * shape[axis - 1] }
    var position = [Int](repeating: 0, count: shape.count)
    var offset = 0
    for index in 0..<source.count {
      if index % FileWatch.piece == 0 { try FileWatch.check() }
      output[index] = input[offset]
      var axis = shape.count - 1
      while axis >= 0 {
        position[axis] += 1
        offset += strides[axis]
        if position[axis] < shape[axis] { break }
        offset -= strides[axis] * shape[axis]
        position[axis] = 0
        axis -= 1
      }
    }
  }
}

/// The header is a Python dictionary literal with the keys descr, fortran_order and shape.
private struct HeaderParser {
  let bytes: [UInt8]
  var position = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  private var error: CetError { CetError(.io, "has a damaged .npy header") }

  private mutating func peek() -> UInt8? {
    while position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x0A { position += 1 }
    return position < bytes.count ? bytes[position] : nil
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard peek() == UInt8(ascii: scalar) else { return false }
    position += 1
    return true
  }

  private mutating func text() throws(CetError) -> String {
    guard let quote = peek(), quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else { throw error }
    position += 1
    guard let end = bytes[position...].firstIndex(of: quote) else { throw error }
    defer { position = end + 1 }
    return String(decoding: bytes[position..<end], as: UTF8.self)
  }

  private mutating func word() -> String {
    _ = peek()
    let start = position
    while position < bytes.count, Character(Unicode.Scalar(bytes[position])).isLetter { position += 1 }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  private mutating func integer() throws(CetError) -> Int {
    _ = peek()
    let start = position
    while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) { position += 1 }
    guard let value = Int(String(decoding: bytes[start..<position], as: UTF8.self)) else { throw error }
    _ = take("L")  // Python 2 wrote long integers so
    return value
  }

  private mutating func tuple() throws(CetError) -> [Int] {
    guard take("(") else { throw error }
    var values: [Int] = []
    while !take(")") {
      values.append(try integer())
      guard take(",") || peek() == UInt8(ascii: ")") else { throw error }
      guard values.count <= 64 else { throw error }
    }
    return values
  }

  mutating func header() throws(CetError) -> NPY.Header {
    var type: (ElementType, isHalf: Bool)?
    var isFortran: Bool?
    var shape: [Int]?
    guard take("{") else { throw error }
    while !take("}") {
      let key = try text()
      guard take(":") else { throw error }
      switch key {
      case "descr":
        if peek() == UInt8(ascii: "[") { throw CetError(.invalidArgument, "holds records; save one plain array a name") }
        type = try elementType(text())
      case "fortran_order":
        switch word() {
        case "True": isFortran = true
        case "False": isFortran = false
        default: throw error
        }
      case "shape": shape = try tuple()
      default: throw error
      }
      guard take(",") || peek() == UInt8(ascii: "}") else { throw error }
    }
    guard let type, let isFortran, let shape else { throw error }
    return NPY.Header(type: type.0, isHalf: type.isHalf, isFortran: isFortran, shape: shape)
  }

  private func elementType(_ descr: String) throws(CetError) -> (ElementType, isHalf: Bool) {
    let order = descr.first
    let code = String(descr.dropFirst())
    if order == ">", !code.hasSuffix("1") {
      throw CetError(.invalidArgument, "is big-endian ('\(descr)'); save it with .astype('<\(code)')")
    }
    switch code {
    case "f2": return (.float32, true)
    case "f4": return (.float32, false)
    case "f8": return (.float64, false)
    case "i1": return (.int8, false)
    case "u1": return (.uint8, false)
    case "i2": return (.int16, false)
    case "u2": return (.uint16, false)
    case "i4": return (.int32, false)
    case "u4": return (.uint32, false)
    case "i8": return (.int64, false)
    case "u8": return (.uint64, false)
    case "b1": return (.bool, false)
    default:
      let kind = descr.hasSuffix("O") ? "Python objects" : "elements of type '\(descr)'"
      throw CetError(.invalidArgument, "holds \(kind), which are not supported")
    }
  }
}
