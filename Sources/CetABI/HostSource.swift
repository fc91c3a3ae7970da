import CCet
import Cet
import CetTensor

/// Bytes that a host brings; it hears when the library needs them no more.
final class HostSource: ModelSource {
  private let c: cet_source
  /// How messages call it.
  private let name: String
  let byteCount: Int

  init(_ source: cet_source, _ name: String) {
    c = source
    self.name = name
    byteCount = Int(clamping: source.size)
  }

  deinit { c.release?(c.user_data) }

  /// The source itself, when its fields agree with each other.
  func checked() throws(CetError) -> HostSource {
    guard Int(exactly: c.size) != nil else { throw invalid("\(name): size \(c.size) is too large") }
    guard (c.data == nil) != (c.read == nil) else { throw invalid("\(name): expected a source with either data or read") }
    guard c.borrowed == 0 || c.data != nil else { throw invalid("\(name): only data can be borrowed") }
    guard c.reserved == 0 else { throw invalid("\(name): the source has reserved \(c.reserved), expected 0") }
    return self
  }

  var borrowed: UnsafeRawBufferPointer? {
    c.borrowed == 0 ? nil : UnsafeRawBufferPointer(start: c.data, count: byteCount)
  }

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    guard let start = buffer.baseAddress else { return }
    if let data = c.data { return start.copyMemory(from: data + offset, byteCount: buffer.count) }
    guard let read = c.read else { throw CetError(.internal, "\(name): a source without bytes") }
    var done = 0
    while done < buffer.count {
      let asked = UInt64(buffer.count - done)
      let found = read(UInt64(offset + done), start + done, asked, c.user_data)
      guard found > 0, found <= Int64(asked) else {
        let place = "byte \(offset + done) of \(byteCount)"
        throw CetError(.io, "\(name): the read callback returned \(found) at \(place), expected 1 to \(asked)")
      }
      done += Int(found)
    }
  }
}

/// What the host gives for the locations of external data; nil when it has none.
func externalSource(_ options: cet_load_options) -> ((String) throws(CetError) -> ModelSource)? {
  guard let external = options.external else { return nil }
  return { location throws(CetError) in
    var source = cet_source()
    let status = external(location, &source, options.user_data)
    guard status == 0 else {
      throw CetError(.io, "external data '\(location)': the callback failed with \(status)")
    }
    return try HostSource(source, "external data '\(location)'").checked()
  }
}
