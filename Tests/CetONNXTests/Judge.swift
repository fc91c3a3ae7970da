import CetTensor
import Glibc
import Testing

@testable import CetONNX

/// examples/onnx-judge, a program of its own.
enum Judge {
  enum Reading {
    case read(String)
    case refused(String)
  }

  /// What libprotobuf reads of each file, in their order.
  static func dumps(of paths: [String]) throws -> [Reading] {
    let program = try #require(getenv("CET_ONNX_JUDGE").map { String(cString: $0) })
    var result: [Reading] = []
    // A command line holds two million bytes.
    for start in stride(from: 0, to: paths.count, by: 5000) {
      let some = Array(paths[start..<min(start + 5000, paths.count)])
      result += readings(try output(of: [program, "dump"] + some))
      #expect(result.count == start + some.count, "onnx-judge gave \(result.count - start) verdicts on \(some.count) files")
    }
    return result
  }

  private static func readings(_ output: String) -> [Reading] {
    var result: [Reading] = []
    var text: [Substring]?
    func close() { if let lines = text { result.append(.read(lines.joined(separator: "\n") + "\n")) } }
    for line in output.split(separator: "\n") {
      if line.hasPrefix("valid\t") {
        close()
        text = []
      } else if line.hasPrefix("invalid\t") {
        close()
        text = nil
        result.append(.refused(String(line)))
      } else {
        text?.append(line)
      }
    }
    close()
    return result
  }

  private static func output(of command: [String]) throws -> String {
    let folder = TemporaryFolder()
    let path = folder.path + "/output"
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT, 0o600)
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var process = pid_t()
    try #require(posix_spawn(&process, command[0], &actions, nil, &arguments, environ) == 0, "cannot run \(command[0])")
    var status: Int32 = 0
    try #require(waitpid(process, &status, 0) == process)
    #expect(status & 0x7F == 0, "onnx-judge ended by signal \(status & 0x7F)")
    return try readText(path)
  }
}

/// The .onnx files below a folder, in order.
func modelFiles(below folder: String) -> [String] {
  guard let handle = opendir(folder) else { return [] }
  defer { closedir(handle) }
  var (files, folders): ([String], [String]) = ([], [])
  while let entry = readdir(handle) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self) }
    if name.hasPrefix(".") { continue }
    var status = stat()
    guard stat(folder + "/" + name, &status) == 0 else { continue }
    if status.st_mode & S_IFMT == S_IFDIR { folders.append(name) } else if name.hasSuffix(".onnx") { files.append(name) }
  }
  return (files.sorted().map { folder + "/" + $0 }) + folders.sorted().flatMap { modelFiles(below: folder + "/" + $0) }
}

/// Damage as it happens to files, and as protobuf's rules can tell apart.
enum Damage {
  static func some(of data: [UInt8], _ random: inout Random) -> [UInt8] {
    var bytes = data
    for _ in 0...Int.random(in: 0...1, using: &random) where !bytes.isEmpty { one(&bytes, &random) }
    return bytes
  }

  private static func one(_ bytes: inout [UInt8], _ random: inout Random) {
    let place = Int.random(in: 0..<bytes.count, using: &random)
    switch Int.random(in: 0..<8, using: &random) {
    case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 1: bytes.removeLast(bytes.count - place)
    case 2: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
    default: edit(&bytes, &random)
    }
  }

  /// An edit of one field somewhere in the tree, with the lengths of what encloses it kept true.
  private static func edit(_ bytes: inout [UInt8], _ random: inout Random) {
    guard let tree = try? Tree(bytes) else { return }
    var candidates = tree
    let target = Int.random(in: 0..<candidates.count, using: &random)
    let kind = Int.random(in: 0..<9, using: &random)
    candidates.edit(target) { field in
      switch kind {
      case 0: return [field, field]
      case 1: return []
      case 2: return [field, Tree.Field(tag: field.tag, contents: field.contents, extra: Int.random(in: 1...9, using: &random))]
      case 3:  // another wire type with its value
        let type = UInt64.random(in: 0...7, using: &random)
        return [field, Tree.Field(tag: field.tag & ~7 | type, contents: .raw(value(type, &random)))]
      case 4:  // a group, well ended or not
        let number = field.tag & ~7
        let end = Bool.random(using: &random) ? number | 4 : 20
        return [Tree.Field(tag: number | 3, contents: .raw([8, 5, 18, 1, 7])), Tree.Field(tag: end, contents: .raw([])), field]
      case 5: return [Tree.Field(tag: UInt64.random(in: 0...300, using: &random) << 3 | 2, contents: .raw([2, 8, 1])), field]
      case 6:  // numbers that do not fit
        let wide = UInt64.random(in: 1...255, using: &random) << 32
        return [Tree.Field(tag: field.tag, contents: field.contents.adding(wide))]
      case 7:  // text that is none
        return [Tree.Field(tag: field.tag, contents: field.contents.asBytes.map { .bytes([0xC3] + $0) } ?? field.contents)]
      default:  // a message in two parts
        return field.split(at: Int.random(in: 0..<8, using: &random))
      }
    }
    bytes = candidates.bytes
  }

  private static func value(_ type: UInt64, _ random: inout Random) -> [UInt8] {
    func some(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }
    switch type {
    case 0:  // up to too long, with bits that are too many
      let count = Int.random(in: 0...10, using: &random)
      return some(count).map { $0 | 0x80 } + [UInt8.random(in: 0...127, using: &random)]
    case 1: return some(8)
    case 2: return [3] + some(3)
    case 5: return some(4)
    default: return []
    }
  }
}
