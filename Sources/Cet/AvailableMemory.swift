import Glibc

/// What the system could give to this process now.
enum AvailableMemory {
  /// Bytes; nil when the system does not say.
  static var bytes: Int? {
    var found: [Int] = []
    if let text = read("/proc/meminfo"),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("MemAvailable:") }),
      let kibibytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    {
      found.append(kibibytes << 10)
    }
    // A container may have less than the machine.
    if let limit = read("/sys/fs/cgroup/memory.max").flatMap({ Int($0.split(separator: "\n").first ?? "") }),
      let used = read("/sys/fs/cgroup/memory.current").flatMap({ Int($0.split(separator: "\n").first ?? "") })
    {
      found.append(max(0, limit - used))
    }
    return found.min()
  }

  static func share(_ part: Double) -> Int? { bytes.map { Int(part * Double($0)) } }

  private static func read(_ path: String) -> String? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var buffer = [UInt8](repeating: 0, count: 1 << 14)
    let count = fread(&buffer, 1, buffer.count, file)
    return String(decoding: buffer[..<count], as: UTF8.self)
  }
}
