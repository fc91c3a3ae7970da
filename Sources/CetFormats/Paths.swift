import Glibc

/// Paths are cut at bytes: a Swift Character can join "/" with a combining mark that follows it.
private let slash = UInt8(ascii: "/")

extension String {
  /// The folder and the file name of a path; the folder of a bare name is ".".
  public var splitAtLastSlash: (folder: String, name: String) {
    guard let last = utf8.lastIndex(of: slash) else { return (".", self) }
    let folder = self[..<last]
    return (folder.isEmpty ? "/" : String(folder), String(self[utf8.index(after: last)...]))
  }
}

/// The path without symbolic links and dots, nil when nothing is there.
public func resolvedPath(_ path: String) -> String? {
  guard let resolved = realpath(path, nil) else { return nil }
  defer { free(resolved) }
  return String(cString: resolved)
}

/// The names in a folder, in order; none when it cannot be read.
func namesOfFiles(in folder: String) -> [String] {
  guard let opened = opendir(folder) else { return [] }
  defer { closedir(opened) }
  var names: [String] = []
  while let entry = readdir(opened) {
    names.append(
      withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      })
  }
  return names.sorted()
}

/// The system's text for the calling thread's last error.
public func systemErrorText(_ code: Int32 = errno) -> String {
  var buffer = [CChar](repeating: 0, count: 256)
  guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
  return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "error \(code)" }
}
