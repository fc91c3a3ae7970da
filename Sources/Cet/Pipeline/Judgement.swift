import CetAutodiff
import CetEncode
import CetFormats
import CetGraph
import CetLayers
import CetOperators
import CetQuantize
import CetTensor

/// Whether planning and quantizing go through with a model, as far as it tells without calibration data.
enum Judgement: Sendable, Equatable {
  case yes
  /// What the file leaves open decides: shapes, and the contents of inputs that conditions are computed from.
  case needsData(String)
  case no(String)

  var status: String {
    switch self {
    case .yes: "yes"
    case .needsData: "needs data"
    case .no: "no"
    }
  }

  var reason: String? {
    switch self {
    case .yes: nil
    case .needsData(let text), .no(let text): text
    }
  }
}

extension LoadedModel {
  /// The checks of planning, and its program bound to shapes of the kind that the file describes. Throws only what says to stop.
  func judgement() throws(CetError) -> Judgement {
    do {
      try checkOperators()
      try checkWeights()
      _ = try smallestFileBytes()
    } catch where error.code == .cancelled {
      throw error
    } catch {
      return .no(error.message)
    }
    return try boundJudgement()
  }

  /// With the fewest bits that each tensor can have, in planes.
  func smallestFileBytes() throws(CetError) -> Int {
    let rules = Encoding.planes.codeRules(.perAxis, coding: .auto, trellis: trellisCode)
    let formats = found.layers.enumerated().map { index, layer in
      found.obstacle(index) == nil ? PlanOptions.allowedBits.lazy.compactMap { rules.expected(bits: $0, columns: layer.columns) }.first : nil
    }
    return try FileSizes(found, of: file, encoding: .planes, granularity: .perAxis)
      .bytes(formats, addsBias: { _ in true }, metadata: FileMetadata.ofUnknownLosses(self, bits: formats.map { $0?.bits }))
  }

  private func boundJudgement() throws(CetError) -> Judgement {
    let graph = found.model.graph
    guard let output = graph.outputs.first?.name else { return .no("the model has no outputs") }
    var (types, sizes): ([String: TensorType], [String: Int]) = ([:], [:])
    var isOpen = false
    for info in graph.requiredInputs {
      guard let type = info.type, let shape = info.shape else {
        return .needsData("the file does not say the type and shape of input '\(info.name)'")
      }
      types[info.name] = TensorType(
        type,
        shape.enumerated().map { axis, dimension in
          let usual = axis == 0 ? 2 : 8
          switch dimension {
          case .fixed(let size): return size
          case .symbolic(let name):
            isOpen = true
            let size = sizes[name] ?? usual
            sizes[name] = size
            return size
          case .unknown:
            isOpen = true
            return usual
          }
        })
    }
    do {
      let context = ComputeContext(memoryLimit: memoryLimit(nil), workLimit: ConstantFolding.workLimit(byteCount: byteCount), interruption: Interruption(FileWatch.check))
      let bound = try BatchProgram(found.model, inputs: types, parameters: found.layers.map(\.name), context)
      let value = try bound.values([output])[0]
      let isRead = bound.program.ancestors(of: [value])
      let isReached = found.layers.contains { layer in bound.parameters[layer.name].map { isRead[$0.id] } ?? false }
      guard isReached else { return .no(PlanDraft.nothingReached(output).message) }
      return value.element == .float32 ? .yes : .no("the loss needs a float32 output, got \(value.element)")
    } catch where error.code == .cancelled {
      throw error
    } catch where error.dependsOnData {
      // Whole numbers that all samples share are constants of a program.
      return types.values.contains { !$0.element.isFloatingPoint } ? .needsData(error.message) : .no(error.message)
    } catch where error.isTooMuchWork {
      return .needsData(error.message)
    } catch where error.code == .unsupportedOperator {
      return .no(error.message)
    } catch {
      return isOpen ? .needsData(error.message) : .no(error.message)
    }
  }
}
