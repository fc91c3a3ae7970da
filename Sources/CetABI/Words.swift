import CCet
import Cet
import CetTensor

// C's numbers for the library's choices: 0 is the default, nil here; others count from 1 in the header's order.

private func choice<Value>(_ number: Int32, _ values: [Value], _ name: StaticString) throws(CetError) -> Value? {
  guard number != 0 else { return nil }
  guard number > 0, Int(number) <= values.count else {
    throw invalid("option \(name): \(number) is none of 0 to \(values.count)")
  }
  return values[Int(number) - 1]
}

private let losses: [LossKind] = [.kl, .crossEntropy, .mse, .output]
private let curvatures: [CurvatureKind] = [.hessian, .gaussNewton]
private let roundings: [Rounding] = [.nearest, .gptq, .compensated]
private let ends: [Which] = [.largestMagnitude, .largest, .smallest]
private let traceMethods: [TraceMethod] = [.hutchinson, .hutchPlusPlus]
private let basisTypes: [BasisType] = [.float32, .bfloat16]

private func number<Value: Equatable>(_ value: Value, _ values: [Value]) -> Int32 {
  Int32(1 + (values.firstIndex(of: value) ?? -1))
}

func method(_ number: cet_method) throws(CetError) -> Method? { try choice(number, Method.allCases, "method") }
func loss(_ number: cet_loss) throws(CetError) -> LossKind? { try choice(number, losses, "loss") }
func curvature(_ number: cet_curvature_kind) throws(CetError) -> CurvatureKind? { try choice(number, curvatures, "curvature") }
func rounding(_ number: cet_rounding) throws(CetError) -> Rounding? { try choice(number, roundings, "rounding") }
func encoding(_ number: cet_encoding) throws(CetError) -> Encoding? { try choice(number, Encoding.allCases, "encoding") }
func coding(_ number: cet_coding) throws(CetError) -> CodingPolicy? { try choice(number, CodingPolicy.allCases, "coding") }
func effort(_ number: cet_effort) throws(CetError) -> Effort? { try choice(number, Effort.allCases, "effort") }
func activationRange(_ number: cet_activation_range) throws(CetError) -> ActivationRange? {
  try choice(number, ActivationRange.allCases, "activation_range")
}
func which(_ number: cet_which) throws(CetError) -> Which? { try choice(number, ends, "which") }
func traceMethod(_ number: cet_trace_method) throws(CetError) -> TraceMethod? { try choice(number, traceMethods, "method") }
func basisType(_ number: cet_basis_type) throws(CetError) -> BasisType? { try choice(number, basisTypes, "basis_type") }

func granularity(_ number: cet_granularity, blockSize: UInt32) throws(CetError) -> Granularity? {
  if Int(number) != Int(CET_GRANULARITY_BLOCK), blockSize != 0 {
    throw invalid("option block_size: needs CET_GRANULARITY_BLOCK")
  }
  return try choice(number, [.perTensor, .perAxis, .block(Int(blockSize))], "granularity")
}

extension Method { var number: cet_method { CetABI.number(self, Method.allCases) } }
extension LossKind { var number: cet_loss { CetABI.number(self, losses) } }
extension CurvatureKind { var number: cet_curvature_kind { CetABI.number(self, curvatures) } }
extension Rounding { var number: cet_rounding { CetABI.number(self, roundings) } }
extension Encoding { var number: cet_encoding { CetABI.number(self, Encoding.allCases) } }
extension CodingPolicy { var number: cet_coding { CetABI.number(self, CodingPolicy.allCases) } }
extension ActivationRange { var number: cet_activation_range { CetABI.number(self, ActivationRange.allCases) } }
extension Which { var number: cet_which { CetABI.number(self, ends) } }

extension Granularity {
  var number: cet_granularity {
    switch self {
    case .perTensor: Int32(CET_GRANULARITY_PER_TENSOR)
    case .perAxis: Int32(CET_GRANULARITY_PER_AXIS)
    case .block: Int32(CET_GRANULARITY_BLOCK)
    }
  }
}

extension Coding.Kind {
  var number: cet_coding {
    switch self {
    case .affine: CodingPolicy.affine.number
    case .trellis: CodingPolicy.trellis.number
    case .symmetric: CodingPolicy.symmetric.number
    }
  }
}

extension PlannedTensor.Decision {
  var number: cet_decision {
    switch self {
    case .chosen: Int32(CET_DECISION_CHOSEN)
    case .fixed: Int32(CET_DECISION_FIXED)
    case .kept: Int32(CET_DECISION_KEPT)
    }
  }
}
