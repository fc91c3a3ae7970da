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
    switch status.st_mode & S_IFMT {
    case S_IFDIR: try readFolder(path)
    case S_IFREG: try readArchive(path)
    // An archive is read from its end, and opening a pipe would wait for its other one.
    default: throw CetError(.io, "cannot read '\(path)': expected a file or folder, got a device or pipe")
    }
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
    guard access(path, R_OK) == 0 else { throw CetError(.io, "cannot read '\(path)': \(systemErrorText())") }
    for name in namesOfFiles(in: path) where name.hasSuffix(".npy") && name.utf8.count > 4 {
      try add(name, place: "'\(path)/\(name)'", FileSource(path: "\(path)/\(name)"))
    }
  }

  private mutating func readArchive(_ path: String) throws(CetError) {
    let archive: ZipArchive
    do { archive = try ZipArchive(path: path) } catch { throw error.prefixed("'\(path)' ") }
    while true {
      let entry: ZipEntry?
      do { entry = try archive.next() } catch { throw error.prefixed("'\(path)' ") }
      guard let entry else { return }
      let name = entry.text
      guard name.hasSuffix(".npy"), name.utf8.count > 4 else { continue }
      try add(name, place: "'\(path)', array '\(name.dropLast(4))'", archive.open(entry))
    }
  }
}

/// An archive has checksums; a single file has none, and is read as one that others may write to.
private final class FileSource: ByteSource {
  private let file: SteadyFile
  private var position = 0
  var byteCount: Int { file.byteCount }

  init(path: String) throws(CetError) { file = try SteadyFile(path: path, what: nil) }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    let left = byteCount - position
    guard buffer.count <= left else {
      throw CetError(.io, "ends too early: \(buffer.count) bytes expected, \(left) found")
    }
    try file.read(at: position, into: buffer)
    position += buffer.count
  }

  func finish() throws(CetError) {
    guard position == byteCount else { throw CetError(.io, "has more bytes than its shape needs") }
  }
}
