import CetEncode
import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Plans whose bits somebody changed in the document: what follows from bits is computed anew.
extension CompressionPlan {
  static let byHand = "set by hand"

  /// Gives a tensor bits that the method did not choose; `PlannedTensor.keptBits` keeps it. The loss that goes with them
  /// comes from the tensor's own table.
  mutating func setByHand(_ index: Int, bits: Int) {
    var tensor = tensors[index]
    tensor.bits = bits
    tensor.decision = bits == PlannedTensor.keptBits ? .kept : .fixed
    tensor.reason = CompressionPlan.byHand
    tensor.coding = tensor.codings[bits] ?? tensor.expectedCoding(options)
    tensor.blockSize = tensor.isPlanned ? options.granularity.blockSize : 0
    if options.granularity == .perTensor { tensor.axis = nil }
    tensor.lossPerByte = nil
    let losses = tensor.sensitivity
    if let loss = losses[bits], let next = losses.keys.filter({ $0 > bits }).min(), let less = losses[next] {
      tensor.lossPerByte = (loss - less) / (Double(tensor.count * (next - bits)) / 8)
    }
    tensor.countBytes(options)
    tensors[index] = tensor
  }

  /// After bits were set by hand: what was found out about the plan as a whole belongs to the former bits. Its loss is
  /// predicted from theirs.
  mutating func forgetFormerBits() {
    predict(from: anchor)
    judgement = nil
    heldOutLoss = nil
    measuredLossChange = nil
    fileBytes = 0
  }
}

extension PlannedTensor {
  /// Says which node reads the tensor.
  mutating func name(_ layer: LinearLayer) {
    node = layer.node.displayName
    operatorType = layer.node.qualifiedType
  }

  /// What codes of the tensor's bits stand for where nothing was rounded yet.
  fileprivate func expectedCoding(_ options: PlanOptions) -> Coding.Kind {
    guard let axis, bits != PlannedTensor.keptBits else { return .affine }
    // Any code will do: the kind does not depend on it.
    return options.codeRules(.small).expected(bits: bits, columns: RowOrder(shape, axis: axis).columns)?.coding.kind ?? .affine
  }

  /// Computes what the file holds for the tensor at its bits.
  /// - Parameters:
  ///   - layer: whose weight it is; nil: see `FileSizes.storedBytes`.
  ///   - isInteger: see `CompressionPlan.heldIntegers`.
  mutating func countBytes(_ options: PlanOptions, _ layer: LinearLayer? = nil, isInteger: Bool = false) {
    (codeBytes, storedBytes) = bits == PlannedTensor.keptBits
      ? (0, count * 4)
      : FileSizes.storedBytes(
        shape, axis: axis, CodeFormat(bits: bits, coding: Coding(coding, trellis: .small)), granularity: options.granularity,
        encoding: options.encoding, layer: layer, runtime: options.runtime, isInteger: isInteger)
  }
}

extension LoadedModel {
  /// The plan with its tensors in the model's order and with the bytes that they take in this model's file. Throws unless
  /// the plan was made for this file and says something about each of its weights and of no other.
  func fitted(_ plan: CompressionPlan) throws(CetError) -> CompressionPlan {
    guard plan.modelSHA256 == sha256 else {
      throw CetError(
        .invalidArgument, "the plan was made for the model with SHA-256 \(plan.modelSHA256), this one has \(sha256)")
    }
    var plan = plan
    let integers = try plan.heldIntegers(of: self)
    let rules = plan.options.codeRules(of: self)
    var left = Dictionary(plan.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    plan.tensors = try found.layers.enumerated().map { index, layer throws(CetError) in
      guard var tensor = left.removeValue(forKey: layer.name) else {
        throw CetError(.invalidArgument, "the plan lacks tensor '\(layer.name)', a weight of the model")
      }
      guard layer.shape == tensor.shape else {
        throw CetError(
          .shapeMismatch,
          "the plan has tensor '\(tensor.name)' with shape \(tensor.shape.shapeText), in the model it is \(layer.shape.shapeText)")
      }
      if tensor.isPlanned, let reason = found.obstacle(index) {
        throw CetError(.numeric, "the plan gives '\(tensor.name)' \(tensor.bits) bits, but it \(reason)")
      }
      let widths = tensor.isPlanned ? PlanOptions.allowedBits : PlannedTensor.keptBits...PlannedTensor.keptBits
      guard widths.contains(tensor.bits) else {
        throw CetError(
          .invalidArgument,
          "the plan gives '\(tensor.name)' \(tensor.bits) bits, expected \(widths.lowerBound) to \(widths.upperBound)")
      }
      if tensor.isPlanned {
        let kinds = rules.codings(bits: tensor.bits, columns: layer.columns).map(\.kind)
        // Of a policy of trellises alone, grids are what an edited document may still ask for.
        guard kinds.contains(tensor.coding) || tensor.coding == .affine && tensor.bits > 1 else {
          throw CetError(
            .invalidArgument, "the plan gives '\(tensor.name)' \(tensor.coding.rawValue) codes of \(tensor.bits == 1 ? "1 bit" : "\(tensor.bits) bits"), which it cannot have")
        }
      }
      tensor.name(layer)
      tensor.axis = plan.options.granularity == .perTensor ? nil : layer.axis
      tensor.countBytes(plan.options, layer, isInteger: integers.contains(index))
      return tensor
    }
    if let unknown = left.keys.min() {
      throw CetError(.invalidArgument, "the plan has tensor '\(unknown)', the model has no such weight")
    }
    return plan
  }
}
