import Glibc

/// Which file it is, whatever name or link leads to it.
struct FileIdentity: Equatable {
  private let device: dev_t
  private let number: ino_t

  private init(_ status: stat) {
    device = status.st_dev
    number = status.st_ino
  }

  /// nil when nothing is there.
  init?(path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    self.init(status)
  }

  /// nil for a pipe, a terminal or a device: whatever flows there is no file.
  init?(descriptor: Int32) {
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    self.init(status)
  }

  /// The file, or the .npy files of a folder; what standard input reads for "-".
  static func all(at path: String) -> [FileIdentity] {
    if path == "-" { return [FileIdentity(descriptor: STDIN_FILENO)].compactMap { $0 } }
    var found = [FileIdentity(path: path)]
    if let folder = opendir(path) {
      defer { closedir(folder) }
      while let entry = readdir(folder) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name.hasSuffix(".npy") { found.append(FileIdentity(path: "\(path)/\(name)")) }
      }
    }
    return found.compactMap { $0 }
  }
}

/// What the tool and the library write, and how such a file is told from others.
enum FileKind: String {
  case model, data, plan, report, session, spectrum, state, sweep

  /// Whether replacing the file at `path` loses nothing that libcet could not make again.
  func isOurs(_ path: String) -> Bool {
    // The model beside it tells: it is ours, and names the file.
    if self == .data {
      let model = path.hasSuffix(".data") ? String(path.dropLast(5)) : path
      guard FileKind.model.isOurs(model), let file = fopen(model, "rb") else { return false }
      defer { fclose(file) }
      return contains(file, path.split(separator: "/").last.map(String.init) ?? path)
    }
    guard let file = fopen(path, "rb") else { return false }
    defer { fclose(file) }
    switch self {
    case .model:
      // The key of a metadata entry, with protobuf's lengths around it.
      return contains(file, "\n\u{11}ai.libcet.version\u{12}")
    case .plan: return start(file).firstRange(of: "\"cet-plan\"") != nil
    case .sweep: return start(file).firstRange(of: "\"command\": \"sweep\"") != nil
    case .report: return start(file).firstRange(of: "<meta name=\"generator\" content=\"libcet") != nil
    case .session: return start(file).hasPrefix("CETSESS1")
    case .spectrum: return start(file).hasPrefix("CETSPEC1")
    case .state: return start(file).hasPrefix("CETEIGS1")
    case .data: return false
    }
  }

  private func start(_ file: UnsafeMutablePointer<FILE>) -> String {
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  /// Read in pieces that overlap: a mapping of a file that somebody cuts meanwhile ends the process.
  private func contains(_ file: UnsafeMutablePointer<FILE>, _ text: String) -> Bool {
    let overlap = text.utf8.count - 1
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    var kept = 0
    while true {
      let count = kept + fread(&bytes[kept], 1, bytes.count - kept, file)
      if bytes.withUnsafeBytes({ contains(UnsafeRawBufferPointer(rebasing: $0[..<count]), text) }) { return true }
      guard count == bytes.count else { return false }
      bytes.replaceSubrange(0..<overlap, with: bytes[(count - overlap)...])
      kept = overlap
    }
  }

  private func contains(_ bytes: UnsafeRawBufferPointer, _ text: String) -> Bool {
    let length = text.utf8.count
    guard let base = bytes.baseAddress, let first = text.utf8.first else { return false }
    var start = 0
    while bytes.count - start >= length, let found = memchr(base + start, Int32(first), bytes.count - start - length + 1) {
      if memcmp(found, text, length) == 0 { return true }
      start = found - UnsafeMutableRawPointer(mutating: base) + 1
    }
    return false
  }
}
