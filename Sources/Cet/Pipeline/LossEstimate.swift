import CetMeasure
import CetQuantize
import Glibc

/// What few numbers say about many.
enum Statistic {
  static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(1, values.count)) }

  /// The standard error of the mean.
  static func standardError(_ values: [Double]) -> Double {
    guard values.count > 1 else { return .infinity }
    let mean = mean(values)
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (squares / Double(values.count * (values.count - 1))).squareRoot()
  }

  /// Whether the mean difference of paired losses, one a sample, is negative by more than `errors` of its standard errors: with
  /// a few held-out samples a gain may be chance, and then the method that risks less stays. Of few samples the error itself is
  /// not known well: the factor is Student's for five sixths, 1.8 for two samples.
  static func isBelow(_ values: [Double], _ others: [Double], errors: Double = 1) -> Bool {
    let differences = zip(values, others).map { $0 - $1 }
    guard differences.count > 1 else { return false }
    return mean(differences) < -errors * standardError(differences) * (1 + 0.8 / Double(differences.count - 1))
  }

  /// Where the mean over as many new values lies with 95 % probability. Losses that are never negative have long tails: their
  /// interval is symmetric in the logarithm. nil for too few values.
  /// - Parameter error: further relative standard error of the mean.
  static func interval(_ values: [Double], error: Double = 0) -> ClosedRange<Double>? {
    guard values.count >= SamplePolicy.fewestForInterval else { return nil }
    let mean = mean(values)
    let student = 1.96 + 2.4 / Double(values.count - 1)
    // The values' own mean and that of the new ones both scatter.
    let spread = 2.squareRoot() * standardError(values)
    guard mean > 0, values.allSatisfy({ $0 >= -1e-6 * mean }) else {
      let half = student * (spread * spread + error * error * mean * mean).squareRoot()
      return (mean - half)...(mean + half)
    }
    let half = student * ((spread / mean) * (spread / mean) + error * error).squareRoot()
    return (mean * exp(-half))...(mean * exp(half))
  }
}

/// A loss of new samples, as known ones let it be expected.
public struct LossEstimate: Sendable, Equatable {
  /// Mean over samples, at temperature 1.
  public var loss: Double
  /// Where the mean over as many new samples lies with 95 % probability; nil: too few samples to say.
  public var interval: ClosedRange<Double>?

  public init(loss: Double, interval: ClosedRange<Double>?) {
    self.loss = loss
    self.interval = interval
  }

  /// The upper end of the interval; the loss itself where there is none.
  var bound: Double { interval?.upperBound ?? loss }
}

extension LossEstimate {
  /// Of samples that a plan's codes were fitted to and others that they were not. At temperature 1 a handful of samples may make
  /// up the loss, and held-out ones miss it: the seen samples count as well, by as much more as unseen ones lose at the judging
  /// temperature, at which all of them count.
  init(unseen: SampleLosses, seen: SampleLosses) {
    var (ratio, error) = (1.0, 0.0)
    let (held, fitted) = (Statistic.mean(unseen.judged), Statistic.mean(seen.judged))
    if held > 0, fitted > 0 {
      ratio = max(1, held / fitted)
      error = hypot(Statistic.standardError(unseen.judged) / held, Statistic.standardError(seen.judged) / fitted)
    }
    let values = unseen.plain + seen.plain.map { $0 * ratio }
    self.init(loss: Statistic.mean(values), interval: Statistic.interval(values, error: seen.plain.isEmpty ? 0 : error))
  }
}
