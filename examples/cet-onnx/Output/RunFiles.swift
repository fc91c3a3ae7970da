import Glibc

/// The files of a run. What it reads is safe from what it writes, files of others are not replaced unasked, and its
/// outputs appear together at its end, or none does and what was there before is there again.
final class RunFiles {
  struct Output {
    var name: String
    var path: String
    var kind: FileKind
  }

  private let inputs: [(name: String, path: String)]
  private var outputs: [Output]
  private let force: Bool
  private var staged: [(temporary: String, path: String)] = []
  /// Paths that have their new file, with a link to what was there before, if anything was.
  private var placed: [(path: String, former: String?)] = []
  private var madeFolder: String?
  private var isComplete = false

  /// Checks all that can be known before the work. A path that is nil was not given.
  init(
    reads: [(name: String, path: String?)], writes: [(name: String, path: String?, kind: FileKind)] = [],
    force: Bool = false
  ) throws {
    inputs = reads.compactMap { input in input.path.map { (input.name, $0) } }
    outputs = writes.compactMap { output in output.path.map { Output(name: output.name, path: $0, kind: output.kind) } }
    self.force = force
    for (list, place) in [(inputs.map { ($0.name, $0.path) }, "input"), (outputs.map { ($0.name, $0.path) }, "output")] {
      let users = list.filter { $0.1 == "-" }.map(\.0)
      guard users.count < 2 else {
        throw Failure(usage: "\(users.joined(separator: " and ")): only one of them can take standard \(place)")
      }
    }
    for (index, output) in outputs.enumerated() { try check(output, former: outputs[..<index]) }
  }

  /// One more file that is known to be written only now: the large tensors of the model at `path`.
  func checkData(beside path: String) throws {
    let output = Output(name: "its data", path: resolved(path) + ".data", kind: .data)
    guard path != "-", !outputs.contains(where: { $0.kind == .data && $0.path == output.path }) else { return }
    try check(output, former: outputs[...])
    outputs.append(output)
  }

  private func check(_ output: Output, former: ArraySlice<Output>) throws {
    let isStandard = output.path == "-"
    guard !output.path.isEmpty else { throw Failure(usage: "\(output.name): the path is empty") }
    guard let found = isStandard ? FileIdentity(descriptor: STDOUT_FILENO) : FileIdentity(path: output.path) else {
      for other in former where place(other.path) == place(output.path) { throw same(output, other.name) }
      if !isStandard { try checkWritable(output.path) }
      return
    }
    for input in inputs where FileIdentity.all(at: input.path).contains(found) { throw same(output, input.name) }
    for other in former where FileIdentity(path: other.path) == found { throw same(output, other.name) }
    guard !isStandard else { return }
    try checkWritable(output.path)
    var status = stat()
    guard stat(output.path, &status) == 0, status.st_size > 0, !force, !output.kind.isOurs(output.path) else { return }
    throw Failure("'\(output.path)' exists and is no \(output.kind.rawValue) that libcet wrote: --force replaces it")
  }

  private func same(_ output: Output, _ other: String) -> Failure {
    Failure(usage: "\(output.name) '\(output.path)' is the same file as \(other)")
  }

  /// Names of a file that is not there yet.
  private func place(_ path: String) -> String {
    guard let folder = realpath(folder(of: path), nil) else { return path }
    defer { free(folder) }
    return String(cString: folder) + "/" + path[(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)...]
  }

  private func folder(of path: String) -> String { path.lastIndex(of: "/").map { String(path[...$0]) } ?? "./" }

  private func checkWritable(_ path: String) throws {
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
      throw Failure("cannot write '\(path)': a folder or device of that name is there")
    }
    // A folder that the run makes itself.
    if access(folder(of: path), F_OK) != 0, outputs.contains(where: { $0.kind == .sweep }) { return }
    guard access(folder(of: path), W_OK | X_OK) == 0 else { throw unwritable(path) }
  }

  // MARK: Reading

  func model(_ path: String) throws -> Model {
    let model = try path == "-" ? Model(bytes: readStandardInput()) : Model(path: path)
    try checkReads(of: model)
    return model
  }

  /// Throws where an output is data of the model.
  func checkReads(of model: Model) throws {
    for output in outputs where output.path != "-" {
      if try model.reads(output.path) { throw same(output, "data of the model") }
    }
  }

  func plan(_ path: String) throws -> Plan { try Plan.read(readText(path), name: path) }

  func calibration(_ path: String) throws -> CalibrationSet {
    guard path == "-" else { return try CalibrationSet(path: path) }
    // The library wants a file that it can seek in.
    let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var name = Array("\(folder)/cet-onnx-XXXXXX".utf8CString)
    let descriptor = mkstemp(&name)
    guard descriptor >= 0 else { throw Failure("cannot keep standard input in '\(folder)': \(systemReason())") }
    defer {
      close(descriptor)
      unlink(name)
    }
    let bytes = try readStandardInput()
    guard bytes.withUnsafeBytes({ writeAll($0, to: descriptor) }) else {
      throw Failure("cannot keep standard input in '\(folder)': \(systemReason())")
    }
    do {
      return try CalibrationSet(path: name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) })
    } catch var failure as Failure {
      failure.message = "standard input: \(failure.message)"
      throw failure
    }
  }

  // MARK: Writing

  /// Whether an output takes standard output.
  var takesStandardOutput: Bool { outputs.contains { $0.path == "-" } }

  /// Makes a folder unless it is there; one that was made goes again when the run fails.
  func makeFolder(_ path: String) throws {
    if mkdir(path, 0o777) == 0 {
      madeFolder = path
    } else if errno != EEXIST {
      throw Failure("cannot make folder '\(path)': \(systemReason())")
    }
  }

  /// Text that `complete` lets appear.
  func stage(_ text: String, as path: String) throws {
    guard path != "-" else {
      standardOutput = Array(text.utf8)
      return
    }
    let target = resolved(path)
    let temporary = "\(target).part-\(getpid())"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw unwritable(path) }
    defer { close(descriptor) }
    staged.append((temporary, target))
    var status = stat()
    if stat(target, &status) == 0 { fchmod(descriptor, status.st_mode & 0o777) }
    guard Array(text.utf8).withUnsafeBytes({ writeAll($0, to: descriptor) }) else { throw unwritable(path) }
  }

  private var standardOutput: [UInt8]?

  /// Saves models and spectra, each of which the library lets appear as a whole, and gives the staged texts their names.
  func complete(saving files: [(path: String, save: (String) throws -> Void)] = [], output bytes: [UInt8]? = nil) throws {
    try Interrupt.check()
    for (path, save) in files {
      let target = resolved(path)
      // Tensors of a model of more than 2 GiB lie beside it.
      for name in [target, target + ".data"] { keepFormer(name) }
      try save(path)
    }
    for (temporary, path) in staged {
      keepFormer(path)
      guard rename(temporary, path) == 0 else { throw unwritable(path) }
    }
    if let bytes = bytes ?? standardOutput { try bytes.withUnsafeBytes(writeStandardOutput) }
    isComplete = true
    for former in placed.compactMap(\.former) { unlink(former) }
  }

  private func keepFormer(_ path: String) {
    let former = "\(path).former-\(getpid())"
    let isThere = access(path, F_OK) == 0
    // Where the file system has no links the former file is lost if a later output fails.
    placed.append((path, isThere && link(path, former) == 0 ? former : nil))
    if isThere, placed[placed.count - 1].former == nil { placed.removeLast() }
  }

  deinit {
    guard !isComplete else { return }
    for (path, former) in placed.reversed() {
      if let former {
        rename(former, path)
        // Where the new file never came both names are the same file, and renaming does nothing.
        unlink(former)
      } else {
        unlink(path)
      }
    }
    for (temporary, _) in staged { unlink(temporary) }
    if let madeFolder { rmdir(madeFolder) }
  }

  /// The file that a link leads to: it is replaced, not the link.
  private func resolved(_ path: String) -> String {
    guard let real = realpath(path, nil) else { return path }
    defer { free(real) }
    return String(cString: real)
  }

  private func unwritable(_ path: String) -> Failure { Failure("cannot write '\(path)': \(systemReason())") }
}
