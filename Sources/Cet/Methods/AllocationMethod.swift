import CetAutodiff
import CetTensor

/// Methods of choosing bits. The words are the same in C, JSON, Python and on the command line, where their order is this one.
public enum Method: String, Sendable, CaseIterable {
  case cet
  case paper
  case hawqV2 = "hawq-v2"
  case mckp
  case uniform
  case clado

  /// The list of methods: each says everything else in a file of its own.
  var rules: any AllocationMethod.Type {
    switch self {
    case .cet: MeasuredLossMethod.self
    case .paper: StiffAxesMethod.self
    case .hawqV2: HessianTraceMethod.self
    case .mckp: FisherMethod.self
    case .uniform: UniformMethod.self
    case .clado: PairwiseMethod.self
    }
  }
}

/// How bits are chosen: by what table, how, and what is said about it.
protocol AllocationMethod {
  static var table: TableUse { get }

  /// What the method wants to know of the layers at each of their widths.
  static func measure(_ session: Session, _ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> LossTable

  /// - Parameters:
  ///   - losses: the table's, by layer index and bits, never rising with bits.
  ///   - limit: the most that they may sum to, for the target `max_loss`; nil: the target's own.
  static func choice(
    _ draft: PlanDraft, _ table: LossTable, losses: [[Int: Double]], limit: Double?
  ) throws(CetError) -> BitChoice

  /// Why a layer got its bits.
  static func reason(_ draft: PlanDraft, _ index: Int, bits: Int?) -> String

  /// What the table's figures are of.
  static func notes(_ table: LossTable, loss: LossKind) -> [String]
}

extension AllocationMethod {
  /// What the method chose while it measured: its table is for one target.
  static func choice(
    _ draft: PlanDraft, _ table: LossTable, losses: [[Int: Double]], limit: Double?
  ) throws(CetError) -> BitChoice { try table.choice() }

  static func notes(_ table: LossTable, loss: LossKind) -> [String] { [] }
}

/// What a method's table is good for.
enum TableUse {
  /// Nothing is measured.
  case none
  /// For the target that it was made for.
  case oneTarget
  /// Losses of single layers, by which bits are chosen for any target without data.
  case anyTarget
}

/// Bits of every layer (nil: kept), and the loss that the next byte for it would save.
struct BitChoice {
  var bits: [Int?]
  var lossPerByte: [Double?]

  init(bits: [Int?]) {
    self.bits = bits
    lossPerByte = bits.map { _ in nil }
  }

  /// Layers that are missing are kept.
  init(_ bits: [Int: Int], layers: Int) { self.init(bits: (0..<layers).map { bits[$0] }) }
}
