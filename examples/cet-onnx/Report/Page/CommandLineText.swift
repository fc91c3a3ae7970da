extension Page {
  /// As a shell takes it.
  static var commandLine: String {
    Swift.CommandLine.arguments.enumerated().map { index, word in
      let plain = index == 0 ? word.split(separator: "/").last.map(String.init) ?? word : word
      return plain.allSatisfy { $0.isLetter || $0.isNumber || "-_./=,:+@%".contains($0) } && !plain.isEmpty
        ? plain : "'" + plain.replacing("'", with: "'\\''") + "'"
    }.joined(separator: " ")
  }
}
