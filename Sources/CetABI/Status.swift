import CCet
import Cet
import CetTensor
import Glibc

/// Strings that live as long as the process.
enum StaticText {
  nonisolated(unsafe) static let empty = make("")
  nonisolated(unsafe) static let version = make(CompressionPlan.libraryVersion)
  nonisolated(unsafe) static let unknownStatus = make("unknown status")
  nonisolated(unsafe) static let unknownPhase = make("unknown phase")
  nonisolated(unsafe) static let status: [Int32: UnsafePointer<CChar>?] = [
    0: make("ok"),
    CetError.Code.invalidArgument.rawValue: make("invalid argument"),
    CetError.Code.invalidModel.rawValue: make("invalid model"),
    CetError.Code.unsupportedOperator.rawValue: make("unsupported operator"),
    CetError.Code.shapeMismatch.rawValue: make("shape mismatch"),
    CetError.Code.notConverged.rawValue: make("not converged"),
    CetError.Code.infeasibleBudget.rawValue: make("infeasible budget"),
    CetError.Code.io.rawValue: make("input/output error"),
    CetError.Code.outOfMemory.rawValue: make("out of memory"),
    CetError.Code.cancelled.rawValue: make("cancelled"),
    CetError.Code.numeric.rawValue: make("not a finite number"),
    CetError.Code.internal.rawValue: make("internal error"),
  ]
  nonisolated(unsafe) static let phase: [Int32: UnsafePointer<CChar>?] = Dictionary(
    uniqueKeysWithValues: Phase.allCases.map { ($0.rawValue, make(String(describing: $0))) })

  private static func make(_ text: String) -> UnsafePointer<CChar>? { UnsafePointer(strdup(text)) }
}

@implementation @_cdecl("cet_status_string")
public func cet_status_string(_ status: cet_status) -> UnsafePointer<CChar>? {
  StaticText.status[status] ?? StaticText.unknownStatus
}

@implementation @_cdecl("cet_last_error_message")
public func cet_last_error_message() -> UnsafePointer<CChar>? { LastError.text ?? StaticText.empty }

@implementation @_cdecl("cet_phase_string")
public func cet_phase_string(_ phase: cet_phase) -> UnsafePointer<CChar>? {
  StaticText.phase[phase] ?? StaticText.unknownPhase
}
