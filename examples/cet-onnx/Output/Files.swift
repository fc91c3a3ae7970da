import Glibc

/// What the system says about its last error.
func systemReason() -> String { String(cString: strerror(errno)) }

/// The contents of a file; "-" is standard input.
func readText(_ path: String) throws -> String {
  let bytes: [UInt8]
  if path == "-" {
    bytes = try readStandardInput()
  } else {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Failure("cannot read '\(path)': \(systemReason())") }
    defer { close(descriptor) }
    bytes = try readAll(descriptor, "'\(path)'")
  }
  guard let text = String(validating: bytes, as: UTF8.self) else { throw Failure("'\(path)' is no UTF-8 text") }
  return text
}

func readStandardInput() throws -> [UInt8] { try readAll(STDIN_FILENO, "standard input") }

private func readAll(_ descriptor: Int32, _ name: String) throws -> [UInt8] {
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    // A signal ends this wait, which it would not do with a read.
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    _ = poll(&waiting, 1, -1)
    try Interrupt.check()
    let count = read(descriptor, &chunk, chunk.count)
    if count == 0 { return bytes }
    guard count > 0 else { throw Failure("cannot read \(name): \(systemReason())") }
    bytes.append(contentsOf: chunk[..<count])
  }
}

func fileSize(_ path: String) throws -> UInt64 {
  var status = stat()
  guard stat(path, &status) == 0 else { throw Failure("cannot read '\(path)': \(systemReason())") }
  return UInt64(status.st_size)
}

/// Whether all bytes were written.
func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
  var rest = bytes
  while let start = rest.baseAddress, !rest.isEmpty {
    let written = write(descriptor, start, min(rest.count, 1 << 30))
    if written < 0, errno == EINTR { continue }
    if written <= 0 { return false }
    rest = UnsafeRawBufferPointer(rebasing: rest[written...])
  }
  return true
}

func writeError(_ text: String) { _ = Array(text.utf8).withUnsafeBytes { writeAll($0, to: STDERR_FILENO) } }

/// The run's result. Where its reader goes away the run has failed, with nothing more to say.
func writeStandardOutput(_ bytes: UnsafeRawBufferPointer) throws {
  guard !writeAll(bytes, to: STDOUT_FILENO) else { return }
  if errno == EPIPE { throw Failure.brokenPipe }
  throw Failure("cannot write to standard output: \(systemReason())")
}

/// Output that a full disk swallowed is a failure; a reader that has seen enough is none.
func flushStandardOutput() throws {
  guard fflush(nil) != 0 else { return }
  if errno == EPIPE { throw Failure.enoughSeen }
  throw Failure("cannot write to standard output: \(systemReason())")
}
