import Glibc

/// What the system says about its last error.
private func systemReason() -> String { String(cString: strerror(errno)) }

func readFile(_ path: String) throws -> String {
  guard let file = fopen(path, "rb") else { throw Failure("cannot read '\(path)': \(systemReason())") }
  defer { fclose(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = fread(&chunk, 1, chunk.count, file)
    if count == 0 { break }
    bytes.append(contentsOf: chunk[..<count])
  }
  guard ferror(file) == 0 else { throw Failure("cannot read '\(path)': \(systemReason())") }
  guard let text = String(validating: bytes, as: UTF8.self) else { throw Failure("'\(path)' is no UTF-8 text") }
  return text
}

func fileSize(_ path: String) throws -> UInt64 {
  var status = stat()
  guard stat(path, &status) == 0 else { throw Failure("cannot read '\(path)': \(systemReason())") }
  return UInt64(status.st_size)
}

/// Output files of a run: they appear together at its end, or none of them does.
final class OutputFiles {
  private var staged: [(temporary: String, path: String)] = []
  private var appeared: [String] = []
  private var isComplete = false

  /// Fails when `path` can take no file: asked before the work, not after.
  static func checkWritable(_ path: String) throws {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "./"
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { errno = EISDIR; throw unwritable(path) }
    guard access(folder, W_OK | X_OK) == 0 else { throw unwritable(path) }
  }

  /// Puts text under a temporary name next to `path`.
  func stage(_ text: String, as path: String) throws {
    try OutputFiles.checkWritable(path)
    let temporary = "\(path).part-\(getpid())"
    guard let file = fopen(temporary, "wb") else { throw OutputFiles.unwritable(path) }
    staged.append((temporary, path))
    let count = text.utf8.count
    let written = text.withCString { fwrite($0, 1, count, file) }
    guard fclose(file) == 0, written == count else { throw OutputFiles.unwritable(path) }
  }

  /// Writes the models, each of which the library lets appear as a whole, and gives the staged texts their names.
  func complete(_ models: [(quantized: Quantized, path: String)], encoding: Encoding?) throws {
    try Interrupt.check()
    for (quantized, path) in models {
      try quantized.save(path, encoding: encoding.code)
      appeared.append(path)
    }
    for (temporary, path) in staged {
      guard rename(temporary, path) == 0 else { throw OutputFiles.unwritable(path) }
      appeared.append(path)
    }
    isComplete = true
  }

  deinit {
    guard !isComplete else { return }
    for path in staged.map(\.temporary) + appeared { unlink(path) }
  }

  private static func unwritable(_ path: String) -> Failure { Failure("cannot write '\(path)': \(systemReason())") }
}

/// Makes a folder unless it is there.
func makeFolder(_ path: String) throws {
  if mkdir(path, 0o777) != 0, errno != EEXIST { throw Failure("cannot make folder '\(path)': \(systemReason())") }
}

func writeError(_ text: String) {
  var rest = text[...].utf8
  while !rest.isEmpty {
    let written = rest.withContiguousStorageIfAvailable { write(STDERR_FILENO, $0.baseAddress, $0.count) } ?? -1
    if written <= 0 { return }
    rest = rest.dropFirst(written)
  }
}

/// Output that a full disk or a closed pipe swallowed is a failure.
func flushStandardOutput() throws {
  guard fflush(nil) == 0 else { throw Failure("cannot write to standard output: \(systemReason())") }
}
