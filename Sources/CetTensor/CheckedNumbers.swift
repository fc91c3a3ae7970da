/// Numbers that a caller or a file chose become sizes here: nothing traps, whatever they are.
extension Int {
  /// The whole number nearest to zero's side of `value`, at the end of the range for what lies beyond it; 0 for NaN.
  public init(saturating value: Double) {
    if value.isNaN {
      self = 0
    } else if value >= 0x1p63 {
      self = .max
    } else if value < -0x1p63 {
      self = .min
    } else {
      self = Int(value)
    }
  }

  /// The product of sizes (none negative), or the largest number where it is larger.
  public static func saturatingProduct(_ sizes: Int...) -> Int {
    var product = 1
    if sizes.contains(0) { return 0 }
    for size in sizes {
      let (next, overflows) = product.multipliedReportingOverflow(by: size)
      if overflows { return .max }
      product = next
    }
    return product
  }

  /// The sum of sizes (none negative), or the largest number where it is larger.
  public static func saturatingSum(_ a: Int, _ b: Int) -> Int {
    let (sum, overflows) = a.addingReportingOverflow(b)
    return overflows ? .max : sum
  }
}
