/// A pattern over names: `*` stands for any run of characters, `?` for one; all else for itself.
public struct NamePattern: Sendable, Equatable {
  public let text: String
  private let scalars: [Unicode.Scalar]

  public init(_ text: String) {
    self.text = text
    scalars = Array(text.unicodeScalars)
  }

  /// Whether the pattern stands for the whole name. Goes back to the latest `*` only, so that the time is at most
  /// the product of the two lengths.
  public func matches(_ name: String) -> Bool {
    let name = Array(name.unicodeScalars)
    var p = 0
    var n = 0
    var star: (pattern: Int, name: Int)?
    while n < name.count {
      if p < scalars.count, scalars[p] == "*" {
        star = (p + 1, n)
        p += 1
      } else if p < scalars.count, scalars[p] == "?" || scalars[p] == name[n] {
        p += 1
        n += 1
      } else if let latest = star {
        star = (latest.pattern, latest.name + 1)
        p = latest.pattern
        n = latest.name + 1
      } else {
        return false
      }
    }
    while p < scalars.count, scalars[p] == "*" { p += 1 }
    return p == scalars.count
  }
}
