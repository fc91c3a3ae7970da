import CetMeasure
import CetQuantize
import CetTensor

public typealias ActivationGrid = CetQuantize.ActivationGrid

/// How the range of an activation is found. The words are the same in C, JSON, Python and on the command line.
public enum ActivationRange: String, Sendable, CaseIterable {
  /// Of the others, and of the range of least squared error, the one that loses least.
  case leastLoss = "least-loss"
  /// From the least to the greatest value of the calibration samples.
  case minMax = "min-max"
  /// Without the rarest ten-thousandth of the values, half of it at either end.
  case percentile
  /// Cut where the squared error is least. What `least-loss` may find; not asked for by itself.
  case leastSquares = "least-squares"
}

/// What is asked for of activations.
public struct ActivationOptions: Sendable, Equatable {
  /// Bits that are allowed: 4 and 8 (whose codes take 8), 16, and those of float32.
  public static let allowedBits = ActivationGrid.widths + [PlannedTensor.keptBits]

  /// Ascending, without repetition.
  public var bits: [Int]
  public var range = ActivationRange.leastLoss
  /// The most that the table's losses of activations may sum to; nil: as much as those of the weights, where no mean is set.
  public var maximumLoss: Double?
  /// Mean bits over the elements of all activations of a sample.
  public var meanBits: Double?

  public init(bits: [Int]) { self.bits = bits }

  func validate() throws(CetError) {
    func wrong(_ name: String, _ expected: String, _ got: String) -> CetError {
      CetError(.invalidArgument, "option \(name)", expected: expected, got: got)
    }
    let isAllowed = !bits.isEmpty && bits.allSatisfy(ActivationOptions.allowedBits.contains)
    guard isAllowed, zip(bits, bits.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw wrong("activations", "rising bits of 4, 8, 16 and 32", "\(bits)")
    }
    guard range != .leastSquares else { throw wrong("activation_range", "least-loss, min-max or percentile", range.rawValue) }
    if let maximumLoss {
      guard maximumLoss > 0, maximumLoss.isFinite else { throw wrong("activation_loss", "a positive number", "\(maximumLoss)") }
      guard meanBits == nil else {
        throw CetError(.invalidArgument, "option activation_loss does not go with activation_mean_bits: one of them bounds the choice")
      }
    }
    if let meanBits {
      guard meanBits > 0, meanBits.isFinite else { throw wrong("activation_mean_bits", "a positive number", "\(meanBits)") }
    }
  }
}

/// What a plan says about one activation.
public struct PlannedActivation: Sendable, Equatable {
  /// What it is rounded to at some bits.
  public struct Choice: Sendable, Equatable {
    public var grid: ActivationGrid
    public var range: ActivationRange
    /// Loss change with this activation rounded alone, as the table of tensors has it.
    public var sensitivity: Double
    /// The same at temperature 1.
    public var measuredLoss: Double
    /// gᵀδ + ½ δᵀHδ, to compare `measuredLoss` with; nil: not known.
    public var curvatureLoss: Double?
  }

  /// The graph value.
  public var name: String
  /// Values that have the same elements in another shape or order, and the same grid.
  public var copies: [String]
  /// Mean number of elements of a sample.
  public var elements: Int
  /// Of one code; `PlannedTensor.keptBits`: it stays float32.
  public var bits: Int
  /// By bits.
  public var choices: [Int: Choice]
  /// One line for people.
  public var reason: String

  public var choice: Choice? { choices[bits] }
  public var isRounded: Bool { bits != PlannedTensor.keptBits }
  /// Its entry in the table; 0 where it stays float32.
  public var predictedLossChange: Double? { isRounded ? choice?.sensitivity : 0 }
}

extension [PlannedActivation] {
  /// The sum of the table's losses.
  var tableLoss: Double { reduce(0) { $0 + ($1.predictedLossChange ?? 0) } }

  /// Bits over the elements of a sample.
  var meanBits: Double {
    let elements = reduce(0.0) { $0 + Double($1.elements) }
    return elements > 0 ? reduce(0.0) { $0 + Double($1.elements) * Double($1.bits) } / elements : Double(PlannedTensor.keptBits)
  }
}
