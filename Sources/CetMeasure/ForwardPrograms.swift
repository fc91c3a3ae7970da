import CetAutodiff
import CetGraph
import CetTensor

/// Forward programs and routes by batch shape and what is wanted of them.
public final class ForwardPrograms: Sendable {
  private struct Key: Hashable {
    let signature: Batch.Signature
    let outputs: [String]
    var stops: [String] = []
  }
  private let model: Model
  private let parameters: [String]
  private let grids: [String: String]
  private let context: ComputeContext
  private let programs = Memo<Key, ForwardProgram>()
  private let routes = Memo<Key, ForwardRoute>()

  init(_ model: Model, parameters: [String], grids: [String: String] = [:], _ context: ComputeContext) {
    self.model = model
    self.parameters = parameters
    self.grids = grids
    self.context = context
  }

  public func forward(_ batch: Batch, outputs: [String]) throws(CetError) -> ForwardProgram {
    try programs.value(Key(signature: batch.signature, outputs: outputs)) { () throws(CetError) in
      try ForwardProgram(model, batch: batch, parameters: parameters, grids: grids, outputs: outputs, context)
    }
  }

  /// - Parameter stops: in the order in which they will be asked for.
  func route(_ batch: Batch, stops: [String], outputs: [String]) throws(CetError) -> ForwardRoute {
    try routes.value(Key(signature: batch.signature, outputs: outputs, stops: stops)) { () throws(CetError) in
      try ForwardRoute(model, batch: batch, parameters: parameters, grids: grids, stops: stops, outputs: outputs, context)
    }
  }
}
