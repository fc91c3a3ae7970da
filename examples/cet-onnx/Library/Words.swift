import ArgumentParser
import CCet

/// A word of the command line that stands for a number of the header.
protocol Word: ExpressibleByArgument, CaseIterable, RawRepresentable where RawValue == String {
  var code: Int32 { get }
}

extension Word {
  /// The word of a number that the library gave.
  static func word(_ code: Int32) -> String { allCases.first { $0.code == code }?.rawValue ?? "unknown (\(code))" }
}

extension Optional where Wrapped: Word {
  /// 0, the default, when the word was not given.
  var code: Int32 { self?.code ?? 0 }
}

enum Method: String, Word {
  case cet, paper, mckp, uniform, clado
  case hawqV2 = "hawq-v2"

  var code: Int32 {
    switch self {
    case .cet: Int32(CET_METHOD_CET)
    case .paper: Int32(CET_METHOD_PAPER)
    case .hawqV2: Int32(CET_METHOD_HAWQ_V2)
    case .mckp: Int32(CET_METHOD_MCKP)
    case .uniform: Int32(CET_METHOD_UNIFORM)
    case .clado: Int32(CET_METHOD_CLADO)
    }
  }
}

enum Loss: String, Word {
  case kl, mse, output
  case crossEntropy = "cross-entropy"

  var code: Int32 {
    switch self {
    case .kl: Int32(CET_LOSS_KL)
    case .crossEntropy: Int32(CET_LOSS_CROSS_ENTROPY)
    case .mse: Int32(CET_LOSS_MSE)
    case .output: Int32(CET_LOSS_OUTPUT)
    }
  }
}

enum CurvatureKind: String, Word {
  case hessian
  case gaussNewton = "gauss-newton"

  var code: Int32 {
    switch self {
    case .hessian: Int32(CET_CURVATURE_HESSIAN)
    case .gaussNewton: Int32(CET_CURVATURE_GAUSS_NEWTON)
    }
  }
}

enum Rounding: String, Word {
  case nearest, gptq, compensated

  var code: Int32 {
    switch self {
    case .nearest: Int32(CET_ROUNDING_NEAREST)
    case .gptq: Int32(CET_ROUNDING_GPTQ)
    case .compensated: Int32(CET_ROUNDING_COMPENSATED)
    }
  }
}

enum Encoding: String, Word {
  case planes, qdq, float, ort, auto

  var code: Int32 {
    switch self {
    case .planes: Int32(CET_ENCODING_PLANES)
    case .qdq: Int32(CET_ENCODING_QDQ)
    case .float: Int32(CET_ENCODING_FLOAT)
    case .ort: Int32(CET_ENCODING_ORT)
    case .auto: Int32(CET_ENCODING_AUTO)
    }
  }

  /// For calls that follow a plan, which knows what "auto" came to.
  var followingPlan: Int32 { self == .auto ? Int32(CET_ENCODING_DEFAULT) : code }
}

enum Coding: String, Word {
  case auto, affine, trellis, symmetric

  var code: Int32 {
    switch self {
    case .auto: Int32(CET_CODING_AUTO)
    case .affine: Int32(CET_CODING_AFFINE)
    case .trellis: Int32(CET_CODING_TRELLIS)
    case .symmetric: Int32(CET_CODING_SYMMETRIC)
    }
  }
}

enum Effort: String, Word {
  case low, medium, high

  var code: Int32 {
    switch self {
    case .low: Int32(CET_EFFORT_LOW)
    case .medium: Int32(CET_EFFORT_MEDIUM)
    case .high: Int32(CET_EFFORT_HIGH)
    }
  }
}

enum ActivationRange: String, Word {
  case leastLoss = "least-loss"
  case minMax = "min-max"
  case percentile

  var code: Int32 {
    switch self {
    case .leastLoss: Int32(CET_ACTIVATION_RANGE_LEAST_LOSS)
    case .minMax: Int32(CET_ACTIVATION_RANGE_MIN_MAX)
    case .percentile: Int32(CET_ACTIVATION_RANGE_PERCENTILE)
    }
  }
}

/// `8`, `4`, `mixed`, or bits with commas between them: 4, 8, 16 and float.
struct ActivationBits {
  var mask: UInt32

  init(_ argument: String) throws {
    mask = 0
    for part in (argument == "mixed" ? "4,8" : argument).split(separator: ",", omittingEmptySubsequences: false) {
      switch part {
      case "4", "8", "16": mask |= 1 << (UInt32(part) ?? 0)
      case "float": mask |= UInt32(CET_FLOAT_BITS)
      default: throw ValidationError("expected 8, 4, mixed, or several of 4, 8, 16 and float with commas between them, got '\(argument)'")
      }
    }
  }
}

enum Which: String, Word {
  case largestMagnitude = "largest-magnitude"
  case largest, smallest

  var code: Int32 {
    switch self {
    case .largestMagnitude: Int32(CET_WHICH_LARGEST_MAGNITUDE)
    case .largest: Int32(CET_WHICH_LARGEST)
    case .smallest: Int32(CET_WHICH_SMALLEST)
    }
  }
}

enum BasisType: String, Word {
  case float32, bfloat16

  var code: Int32 {
    switch self {
    case .float32: Int32(CET_BASIS_FLOAT32)
    case .bfloat16: Int32(CET_BASIS_BFLOAT16)
    }
  }
}

/// `per-axis`, `per-tensor` or `block:N`.
struct Granularity: ExpressibleByArgument {
  var code: Int32
  var blockSize: UInt32 = 0

  init?(argument: String) {
    switch argument {
    case "per-axis": code = Int32(CET_GRANULARITY_PER_AXIS)
    case "per-tensor": code = Int32(CET_GRANULARITY_PER_TENSOR)
    default:
      guard argument.hasPrefix("block:"), let size = UInt32(argument.dropFirst(6)), size > 0 else { return nil }
      code = Int32(CET_GRANULARITY_BLOCK)
      blockSize = size
    }
  }

  static func word(_ code: Int32) -> String {
    switch Int(code) {
    case Int(CET_GRANULARITY_PER_AXIS): "per-axis"
    case Int(CET_GRANULARITY_PER_TENSOR): "per-tensor"
    case Int(CET_GRANULARITY_BLOCK): "block"
    default: "unknown (\(code))"
    }
  }

  static let allValueStrings = ["per-axis", "per-tensor", "block:N"]
}

/// A number of 1 or more.
struct Count {
  var value: UInt32

  init(_ argument: String) throws { value = try whole(argument, 1...UInt32.max, "a whole number of 1 or more") }
}

/// A whole number that an option takes.
func whole<Number: FixedWidthInteger>(_ text: String, _ range: ClosedRange<Number>, _ expected: String) throws -> Number {
  guard let number = Number(text), range.contains(number) else { throw ValidationError("expected \(expected), got '\(text)'") }
  return number
}

extension Optional where Wrapped == Count {
  /// 0, the default, when it was not given.
  var number: UInt32 { self?.value ?? 0 }
}

/// Bit widths as `2,3,4,8`.
struct BitSet {
  /// The sum of 1 << bits.
  var mask: UInt32

  init(_ argument: String) throws {
    mask = 0
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let bits: UInt32 = try whole(String(part), 1...8, "widths of 1 to 8 bits with commas between them")
      mask |= 1 << bits
    }
  }
}

/// Bytes: a number with an optional unit (kB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024).
struct ByteSize {
  var bytes: UInt64

  init(_ argument: String) throws {
    let units: [(suffix: String, factor: Double)] = [
      ("kib", 1024), ("mib", 1_048_576), ("gib", 1_073_741_824), ("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("b", 1),
    ]
    let text = argument.lowercased()
    let unit = units.first { text.hasSuffix($0.suffix) }
    let digits = text.dropLast(unit?.suffix.count ?? 0).filter { $0 != " " }
    let bytes = ((try? decimal(String(digits))) ?? 0) * (unit?.factor ?? 1)
    guard bytes >= 1, bytes < 9e15 else {
      throw ValidationError("expected bytes, as 12000000, 12MB or 11.5MiB, got '\(argument)'")
    }
    self.bytes = UInt64(bytes)
  }
}

/// `PATTERN=BITS`, or `BITS` for all tensors.
struct LimitRule {
  var rule: FixRule

  init(_ argument: String) throws { rule = try FixRule(argument.contains("=") ? argument : "*=\(argument)") }
}

/// `PATTERN=BITS`.
struct FixRule {
  var pattern: String
  var bits: Int32

  init(_ argument: String) throws {
    guard let separator = argument.lastIndex(of: "="), separator != argument.startIndex,
      let bits = Int32(argument[argument.index(after: separator)...]), (1...8).contains(bits)
    else { throw ValidationError("expected a pattern and 1 to 8 bits, as 'fc*=4', got '\(argument)'") }
    pattern = String(argument[..<separator])
    self.bits = bits
  }
}
