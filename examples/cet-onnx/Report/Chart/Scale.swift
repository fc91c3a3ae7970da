import Glibc

/// Places values of a domain on a stretch of the drawing.
struct Scale {
  enum Kind { case linear, logarithmic }

  var kind: Kind
  var low: Double
  var high: Double
  /// Where `low` and `high` stand.
  var start: Double
  var end: Double
  /// Values are counts: ticks stand at whole numbers only.
  var isWhole = false

  func callAsFunction(_ value: Double) -> Double {
    let share = (raised(value) - raised(low)) / (raised(high) - raised(low))
    return start + (end - start) * min(1, max(0, share.isFinite ? share : 0))
  }

  private func raised(_ value: Double) -> Double { kind == .linear ? value : log10(max(value, 1e-300)) }

  /// A domain that holds all values with some air around them.
  static func covering(_ values: [Double], _ kind: Kind, from start: Double, to end: Double, air: Double = 0.04) -> Scale {
    let known = values.filter { $0.isFinite && (kind == .linear || $0 > 0) }
    var scale = Scale(kind: kind, low: known.min() ?? 1, high: known.max() ?? 10, start: start, end: end)
    let (low, high) = (scale.raised(scale.low), scale.raised(scale.high))
    let room = max((high - low) * air, kind == .linear ? abs(high) * 1e-3 + 1e-12 : 0.05)
    scale.low = kind == .linear ? low - room : pow(10, low - room)
    scale.high = kind == .linear ? high + room : pow(10, high + room)
    return scale
  }

  /// Round values of the domain, at most about `count`.
  func ticks(_ count: Int) -> [Double] {
    kind == .linear ? linearTicks(count) : logarithmicTicks(count)
  }

  private func linearTicks(_ count: Int) -> [Double] {
    let rough = (high - low) / Double(max(1, count))
    guard rough > 0, rough.isFinite else { return [low] }
    let power = pow(10, floor(log10(rough)))
    let factors: [Double] = isWhole ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10]
    let step = max(isWhole ? 1 : 0, power * (factors.first { $0 * power >= rough } ?? 10))
    let (first, last) = (ceil(low / step - 1e-9), floor(high / step + 1e-9))
    guard last >= first, last - first < 100 else { return [low] }
    return stride(from: first, through: last, by: 1).map { $0 * step + 0 }
  }

  /// Powers of ten; where there are fewer than three their doubles and fivefolds, too.
  private func logarithmicTicks(_ count: Int) -> [Double] {
    guard low > 0, high.isFinite else { return [] }
    let (first, last) = (Int(floor(log10(low))), Int(ceil(log10(high))))
    guard last - first < 600 else { return [low, high] }
    func values(_ factors: [Double], every step: Int = 1) -> [Double] {
      var found: [Double] = []
      for exponent in stride(from: first, through: last, by: step) {
        for factor in factors {
          let value = factor * pow(10, Double(exponent))
          if value >= low * (1 - 1e-9), value <= high * (1 + 1e-9) { found.append(value) }
        }
      }
      return found
    }
    let decades = values([1])
    if decades.count > count { return values([1], every: (decades.count + count - 1) / count) }
    let subdivisions: [[Double]] = [[1, 2, 5], [1, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
    for factors in subdivisions where decades.count < 3 {
      let finer = values(factors)
      if finer.count >= 3, finer.count <= count { return finer }
    }
    return decades
  }
}
