import CetAutodiff
import CetGraph
import CetTensor

/// Forward programs by batch shape and wanted outputs.
public final class ForwardPrograms: Sendable {
  private struct Key: Hashable {
    let signature: Batch.Signature
    let outputs: [String]
  }
  private let model: Model
  private let parameters: [String]
  private let context: ComputeContext
  private let programs = Memo<Key, ForwardProgram>()

  init(_ model: Model, parameters: [String], _ context: ComputeContext) {
    self.model = model
    self.parameters = parameters
    self.context = context
  }

  public func forward(_ batch: Batch, outputs: [String]) throws(CetError) -> ForwardProgram {
    try programs.value(Key(signature: batch.signature, outputs: outputs)) { () throws(CetError) in
      try ForwardProgram(model, batch: batch, parameters: parameters, outputs: outputs, context)
    }
  }
}
