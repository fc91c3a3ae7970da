/// Floating-point formats of at most 8 bits, one byte an element, by their codes.
struct Minifloat {
  private let exponentBits: Int
  private let fractionBits: Int
  private let bias: Int
  private let largest: Double
  /// Code without sign of infinity; nil where the format has none.
  private let infinity: UInt8?
  /// nil where the format has no NaN; 0x80 stands for the one NaN of the formats without negative zero.
  private let nan: UInt8?
  /// Powers of two without sign (float8e8m0).
  private let onlyPowers: Bool

  init?(_ type: ElementType) {
    onlyPowers = type == .float8e8m0
    switch type {
    case .float8e4m3fn: (exponentBits, fractionBits, bias, largest, infinity, nan) = (4, 3, 7, 448, nil, 0x7F)
    case .float8e4m3fnuz: (exponentBits, fractionBits, bias, largest, infinity, nan) = (4, 3, 8, 240, nil, 0x80)
    case .float8e5m2: (exponentBits, fractionBits, bias, largest, infinity, nan) = (5, 2, 15, 57344, 0x7C, 0x7E)
    case .float8e5m2fnuz: (exponentBits, fractionBits, bias, largest, infinity, nan) = (5, 2, 16, 57344, nil, 0x80)
    case .float4e2m1: (exponentBits, fractionBits, bias, largest, infinity, nan) = (2, 1, 1, 6, nil, nil)
    case .float8e8m0: (exponentBits, fractionBits, bias, largest, infinity, nan) = (8, 0, 127, 0x1p127, nil, 0xFF)
    default: return nil
    }
  }

  func decode(_ code: UInt8) -> Float {
    if onlyPowers { return code == 0xFF ? .nan : Float(sign: .plus, exponent: Int(code) - 127, significand: 1) }
    if nan == 0x80, code == 0x80 { return .nan }
    let width = exponentBits + fractionBits
    let magnitude = code & UInt8((1 << width) - 1)
    let sign: Float = code >> width & 1 == 1 ? -1 : 1
    if let infinity, magnitude >= infinity { return magnitude == infinity ? sign * .infinity : .nan }
    if infinity == nil, let nan, nan != 0x80, magnitude == nan { return .nan }
    let exponent = Int(magnitude >> fractionBits)
    let fraction = Float(magnitude & UInt8((1 << fractionBits) - 1))
    let unit = Float(sign: .plus, exponent: max(exponent, 1) - bias - fractionBits, significand: 1)
    return sign * (exponent == 0 ? fraction : fraction + Float(1 << fractionBits)) * unit
  }

  /// Rounds to nearest, ties to even. What is too large becomes the largest number, or with `saturates` off
  /// infinity, or NaN where there is no infinity. float8e8m0 rounds up.
  func encode(_ value: Double, saturates: Bool) -> UInt8 {
    if onlyPowers { return encodePower(value, saturates: saturates) }
    let width = exponentBits + fractionBits
    let sign: UInt8 = value.sign == .minus ? 1 << width : 0
    if value.isNaN { return nan == 0x80 ? 0x80 : nan.map { $0 | sign } ?? UInt8(1 << width) }
    let smallest = 1 - bias
    let exponent = value == 0 || !value.isFinite ? smallest : max(Int(value.exponent), smallest)
    let unit = Double(sign: .plus, exponent: exponent - fractionBits, significand: 1)
    var rounded = (value.magnitude / unit).rounded(.toNearestOrEven) * unit
    if rounded > largest {
      guard saturates || nan == nil else { return infinity.map { $0 | sign } ?? (nan == 0x80 ? 0x80 : (nan ?? 0) | sign) }
      rounded = largest
    }
    if rounded == 0 { return nan == 0x80 ? 0 : sign }
    let power = max(Int(rounded.exponent), smallest)
    let steps = Int(rounded / Double(sign: .plus, exponent: power - fractionBits, significand: 1))
    // Normal numbers have the leading bit in `steps`; it adds 1 to the exponent field.
    return sign | UInt8((power - smallest) << fractionBits + steps)
  }

  private func encodePower(_ value: Double, saturates: Bool) -> UInt8 {
    if value.isNaN { return 0xFF }
    let magnitude = value.magnitude
    if magnitude > largest { return saturates ? 254 : 0xFF }
    if magnitude <= 0x1p-127 { return 0 }
    let exponent = Int(magnitude.exponent) + (magnitude.significand > 1 ? 1 : 0)
    return UInt8(min(exponent + 127, 254))
  }
}

extension ElementType {
  /// Floating point of at most 8 bits.
  public var isMinifloat: Bool { Minifloat(self) != nil }
}
