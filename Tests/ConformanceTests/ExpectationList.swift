import Glibc

/// What a suite is known to do: a text file with one line for each case,
///   name pass
///   name tolerance=<relative>,<absolute>   passes within these instead of the suite's own tolerances
///   name unsupported(<reason>)       throws an error whose message contains the reason
struct ExpectationList {
  enum Expectation: Equatable {
    case pass
    case tolerance(relative: Double, absolute: Double)
    case unsupported(String)
  }
  let entries: [String: Expectation]

  static func path(_ name: String, file: String = #filePath) -> String {
    file.split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 } + "/Fixtures/conformance/\(name).txt"
  }

  init(_ text: String) {
    var entries: [String: Expectation] = [:]
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      let parts = line.split(separator: " ", maxSplits: 1)
      guard parts.count == 2 else { continue }
      let word = parts[1]
      if word == "pass" {
        entries[String(parts[0])] = .pass
      } else if word.hasPrefix("tolerance=") {
        let numbers = word.dropFirst("tolerance=".count).split(separator: ",").compactMap { Double($0) }
        if numbers.count == 2 { entries[String(parts[0])] = .tolerance(relative: numbers[0], absolute: numbers[1]) }
      } else if word.hasPrefix("unsupported("), word.hasSuffix(")") {
        entries[String(parts[0])] = .unsupported(String(word.dropFirst("unsupported(".count).dropLast()))
      }
    }
    self.entries = entries
  }

  init(name: String) { self.init(ExpectationList.read(ExpectationList.path(name))) }

  static func read(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = fread(&chunk, 1, chunk.count, file)
      if count == 0 { break }
      bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  static func write(_ text: String, _ path: String) {
    guard let file = fopen(path, "w") else { return }
    defer { fclose(file) }
    fputs(text, file)
  }
}
