import Glibc

/// What libonnx says of a file. It is asked in a process of its own, examples/onnx-judge: libonnx and libprotobuf are in no
/// process with libcet, where another ONNX may be loaded.
struct Judge {
  enum Word: String { case valid, invalid, beyond }

  /// nil: nobody was asked, and `why` says why not.
  let word: Word?
  let why: String

  var members: [(String, JSONText)] {
    [("libonnx", .object([("verdict", word.map { .string($0.rawValue) } ?? .null), ("detail", why.isEmpty ? .null : .string(why))]))]
  }

  var text: String {
    switch word {
    case .valid: "valid by its checker and shape inference"
    case .invalid: "invalid: \(why)"
    case .beyond: "beyond its versions: \(why)"
    case nil: "not asked: \(why)"
    }
  }

  init(ofFile path: String) {
    guard path != "-" else {
      (word, why) = (nil, "the file came from standard input")
      return
    }
    for program in Judge.programs {
      guard let output = Judge.output(of: [program, "check", path]) else { continue }
      let fields = output.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
      guard let found = fields.first.flatMap({ Word(rawValue: String($0)) }), fields.count == 2, fields[1].hasPrefix(path) else {
        (word, why) = (nil, "onnx-judge gives no verdict, perhaps for want of libonnx")
        return
      }
      word = found
      var rest = fields[1].dropFirst(path.count).drop { $0 == "\t" }
      while rest.last == "\n" { rest.removeLast() }
      why = String(rest)
      return
    }
    (word, why) = (nil, "onnx-judge is not installed")
  }

  /// Where the program is installed, beside the tool, and in the PATH.
  private static var programs: [String] {
    let own = realpath("/proc/self/exe", nil)
    defer { free(own) }
    let parts = own.map { String(cString: $0).split(separator: "/").dropLast() } ?? []
    func path(_ parts: [Substring]) -> String { "/" + parts.joined(separator: "/") }
    let beside = [path(parts.dropLast() + ["libexec", "cet", "onnx-judge"]), path(parts + ["onnx-judge"])]
    return beside.filter { access($0, X_OK) == 0 } + ["onnx-judge"]
  }

  /// What the program writes to standard output; nil when there is no such program.
  private static func output(of command: [String]) -> String? {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { return nil }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var arguments = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var process = pid_t()
    let started = posix_spawnp(&process, command[0], &actions, nil, &arguments, environ) == 0
    close(ends[1])
    guard started else { return nil }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(ends[0], &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { break }
      bytes += buffer[..<count]
    }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    return String(decoding: bytes, as: UTF8.self)
  }
}
