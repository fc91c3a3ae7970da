import CZip
import CetTensor
import Glibc

/// Named arrays from an .npz file or a folder of .npy files. An array of an unsupported type is no failure until
/// somebody needs it, because such files often carry more than the model's inputs.
public struct NamedArrays {
  /// In the order of the archive, or of the names in a folder.
  public var arrays: [(name: String, tensor: Tensor)] = []
  /// Why an array could not be used.
  public var unusable: [String: CetError] = [:]

  public init(path: String) throws(CetError) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw CetError(.io, "cannot read '\(path)': \(systemErrorText())") }
    if status.st_mode & S_IFMT == S_IFDIR { try readFolder(path) } else { try readArchive(path) }
    if arrays.isEmpty {
      let reason = unusable.sorted { $0.key < $1.key }.first?.value.message ?? "there are no .npy arrays in it"
      throw CetError(.invalidArgument, "'\(path)': \(reason)")
    }
  }

  private mutating func add(
    _ member: String, place: String, _ source: @autoclosure () throws(CetError) -> ByteSource
  ) throws(CetError) {
    let name = String(member.dropLast(4))
    guard !arrays.contains(where: { $0.name == name }), unusable[name] == nil else {
      throw CetError(.io, "\(place) appears twice")
    }
    do {
      arrays.append((name, try NPY.read(source())))
    } catch {
      let located = error.prefixed("\(place) ")
      guard error.code == .invalidArgument else { throw located }
      unusable[name] = located
    }
  }

  private mutating func readFolder(_ path: String) throws(CetError) {
    guard let folder = opendir(path) else { throw CetError(.io, "cannot read '\(path)': \(systemErrorText())") }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name.hasSuffix(".npy"), name.utf8.count > 4 { names.append(name) }
    }
    for name in names.sorted() {
      try add(name, place: "'\(path)/\(name)'", FileSource(path: "\(path)/\(name)"))
    }
  }

  private mutating func readArchive(_ path: String) throws(CetError) {
    var code: Int32 = 0
    guard let archive = zip_open(path, ZIP_RDONLY, &code) else {
      var error = zip_error_t()
      zip_error_init_with_code(&error, code)
      defer { zip_error_fini(&error) }
      let reason = zip_error_strerror(&error).map { String(cString: $0) } ?? "unknown error"
      throw CetError(.io, "cannot read '\(path)' as .npz: \(reason)")
    }
    defer { zip_discard(archive) }
    let count = zip_get_num_entries(archive, 0)
    guard count <= 1 << 16 else { throw CetError(.io, "'\(path)' has \(count) members, the limit is \(1 << 16)") }
    for index in 0..<max(0, count) {
      guard let raw = zip_get_name(archive, zip_uint64_t(index), 0) else { continue }
      let name = String(cString: raw)
      guard name.hasSuffix(".npy"), name.utf8.count > 4 else { continue }
      try add(name, place: "'\(path)', array '\(name.dropLast(4))'", ZipSource(archive, zip_uint64_t(index)))
    }
  }
}

private final class FileSource: ByteSource {
  private let file: UnsafeMutablePointer<FILE>
  let byteCount: Int

  init(path: String) throws(CetError) {
    guard let file = fopen(path, "rbe") else { throw CetError(.io, "cannot be opened: \(systemErrorText())") }
    self.file = file
    var status = stat()
    byteCount = fstat(fileno(file), &status) == 0 ? Int(status.st_size) : 0
  }

  deinit { fclose(file) }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    guard let start = buffer.baseAddress, buffer.count > 0 else { return }
    let found = fread(start, 1, buffer.count, file)
    guard found == buffer.count else {
      throw CetError(.io, "ends too early: \(buffer.count) bytes expected, \(found) found")
    }
  }

  func finish() throws(CetError) {
    guard fgetc(file) == EOF else { throw CetError(.io, "has more bytes than its shape needs") }
  }
}

private final class ZipSource: ByteSource {
  private let file: OpaquePointer
  let byteCount: Int

  init(_ archive: OpaquePointer, _ index: zip_uint64_t) throws(CetError) {
    guard let file = zip_fopen_index(archive, index, 0) else {
      let reason = zip_error_strerror(zip_get_error(archive)).map { String(cString: $0) } ?? "unknown error"
      throw CetError(.io, "cannot be opened: \(reason)")
    }
    self.file = file
    var status = zip_stat_t()
    byteCount = zip_stat_index(archive, index, 0, &status) == 0 ? Int(clamping: status.size) : 0
  }

  deinit { zip_fclose(file) }

  private func reason() -> String {
    zip_error_strerror(zip_file_get_error(file)).map { String(cString: $0) } ?? "unknown error"
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    guard let start = buffer.baseAddress else { return }
    var done = 0
    while done < buffer.count {
      let found = zip_fread(file, start + done, zip_uint64_t(min(buffer.count - done, 1 << 24)))
      guard found >= 0 else { throw CetError(.io, "is damaged: \(reason())") }
      guard found > 0 else {
        throw CetError(.io, "ends too early: \(buffer.count) bytes expected, \(done) found")
      }
      done += Int(found)
    }
  }

  func finish() throws(CetError) {
    // Reading to the end makes libzip compare the checksum.
    var byte: UInt8 = 0
    let found = zip_fread(file, &byte, 1)
    guard found >= 0 else { throw CetError(.io, "is damaged: \(reason())") }
    guard found == 0 else { throw CetError(.io, "has more bytes than its shape needs") }
  }
}
