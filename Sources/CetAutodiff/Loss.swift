import CetOperators
import CetTensor
import Glibc

/// The scalar that is differentiated. All are sums over the samples of a batch; the mean is taken where
/// batches are added up.
public enum LossKind: String, Sendable, CaseIterable {
  /// Σ p_ref (log p_ref − log p), p = softmax over the last axis, p_ref from the unchanged model.
  case kl
  /// −log p(label), p = softmax over the last axis.
  case crossEntropy = "cross-entropy"
  /// ½‖output − reference output‖².
  case mse
  /// The graph's output itself, summed.
  case output
}

public enum Loss {
  /// The loss as a scalar value of the program.
  /// - Parameters:
  ///   - output: float32 logits (batch, ..., classes), or any float32 tensor for `mse` and `output`.
  ///   - labels: int64 of the logits' shape without the last axis; for `crossEntropy`.
  ///   - reference: the unchanged model's output; for `kl` (logits) and `mse`.
  public static func emit(
    _ kind: LossKind, output: Value, labels: Value?, reference: Value?, _ e: Emitter
  ) throws(CetError) -> Value {
    guard output.element == .float32 else {
      throw CetError(.unsupportedOperator, "loss \(kind.rawValue) needs a float32 output, got \(output.element)")
    }
    let all = Array(0..<output.rank)
    func total(_ x: Value) throws(CetError) -> Value { try e.reshape(e.sum(x, axes: Array(0..<x.rank)), []) }
    switch kind {
    case .output: return try total(output)
    case .mse:
      guard let reference else { throw CetError(.internal, "mse without a reference output") }
      let difference = try e.subtract(output, reference)
      return try e.scale(total(e.multiply(difference, difference)), by: 0.5)
    case .kl:
      guard let reference, !all.isEmpty else { throw CetError(.shapeMismatch, "kl needs logits with a class axis") }
      let target = try e.emit(Softmax(logarithmic: true), reference)
      let difference = try e.subtract(target, e.emit(Softmax(logarithmic: true), output))
      return try total(e.multiply(e.unary(.exp, target), difference))
    case .crossEntropy:
      guard let labels, output.rank >= 1 else { throw CetError(.invalidArgument, "cross-entropy needs labels") }
      guard labels.shape == Array(output.shape.dropLast()), let classes = output.shape.last else {
        throw CetError(
          .shapeMismatch,
          "labels \(labels.shape.shapeText) do not fit the output \(output.shape.shapeText), expected \(Array(output.shape.dropLast()).shapeText)")
      }
      let hits = try e.compare(.equal, e.reshape(labels, labels.shape + [1]), e.ramp(classes))
      return try e.negate(total(e.mask(hits, e.emit(Softmax(logarithmic: true), output))))
    }
  }
}

extension Loss {
  /// The loss of computed outputs, summed over samples in double: differences of 1e-9 are not lost in single precision.
  /// - Parameter temperature: for `kl`, divides both logits. Above 1, samples of which the model is certain count
  ///   as well, instead of the few at the border of two classes alone.
  public static func value(
    _ kind: LossKind, output: Tensor, reference: Tensor?, labels: Tensor?, temperature: Double = 1
  ) throws(CetError) -> Double {
    let output = try output.rowMajor()
    let classes = output.shape.last ?? 1
    let rows = classes > 0 ? output.count / classes : 0
    var total = 0.0
    switch kind {
    case .output:
      for i in 0..<output.count { total += Double(output.floats[i]) }
    case .mse:
      guard let reference = try reference?.rowMajor(), reference.shape == output.shape else { throw mismatch(output) }
      for i in 0..<output.count {
        let difference = Double(output.floats[i]) - Double(reference.floats[i])
        total += 0.5 * difference * difference
      }
    case .kl:
      guard let reference = try reference?.rowMajor(), reference.shape == output.shape else { throw mismatch(output) }
      for row in 0..<rows {
        let (x, y) = (reference.floats + row * classes, output.floats + row * classes)
        let (shiftX, shiftY) = (logSumExp(x, classes, temperature), logSumExp(y, classes, temperature))
        for i in 0..<classes {
          let logP = Double(x[i]) / temperature - shiftX
          total += exp(logP) * (logP - (Double(y[i]) / temperature - shiftY))
        }
      }
    case .crossEntropy:
      guard let labels, labels.count == rows, labels.type == .int64 else { throw mismatch(output) }
      let classOf = labels.elements(as: Int64.self)
      for row in 0..<rows {
        let y = output.floats + row * classes
        let label = Int(classOf[row])
        guard label >= 0, label < classes else {
          throw CetError(.invalidArgument, "label \(label) is outside \(classes) classes")
        }
        total += logSumExp(y, classes, 1) - Double(y[label])
      }
    }
    return total
  }

  /// The loss of every sample by itself, as `value`: `samples` of them on axis 0 of all tensors.
  public static func sampleValues(
    _ kind: LossKind, output: Tensor, reference: Tensor?, labels: Tensor?, samples: Int, temperature: Double = 1
  ) throws(CetError) -> [Double] {
    let output = try output.rowMajor()
    guard samples > 0, output.shape.first == samples, reference.map({ $0.shape == output.shape }) ?? true,
      labels.map({ $0.shape.first == samples }) ?? true
    else {
      // Samples cannot be told apart: each gets the same share.
      let total = try value(kind, output: output, reference: reference, labels: labels, temperature: temperature)
      return [Double](repeating: total / Double(max(1, samples)), count: samples)
    }
    let reference = try reference?.rowMajor()
    return try (0..<samples).map { sample throws(CetError) in
      let range = sample..<(sample + 1)
      return try value(
        kind, output: output.rows(range), reference: reference?.rows(range), labels: labels?.rows(range),
        temperature: temperature)
    }
  }

  private static func mismatch(_ output: Tensor) -> CetError {
    CetError(.shapeMismatch, "the loss of an output \(output.shape.shapeText) lacks a fitting reference or labels")
  }

  /// log Σ e^(x/T)
  private static func logSumExp(_ x: UnsafePointer<Float>, _ count: Int, _ temperature: Double) -> Double {
    var peak = -Double.infinity
    for i in 0..<count { peak = max(peak, Double(x[i]) / temperature) }
    guard peak.isFinite else { return peak }
    var sum = 0.0
    for i in 0..<count { sum += exp(Double(x[i]) / temperature - peak) }
    return peak + log(sum)
  }
}
