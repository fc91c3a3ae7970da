import CetTensor

/// Targets drawn from the model's own prediction: what makes gradients a sample of the Fisher information.
public enum DrawnTargets {
  /// Class indices, one per row of logits, shape of the logits without the last axis.
  public static func labels(_ logits: Tensor, _ random: inout Random) throws(CetError) -> Tensor {
    let classes = logits.shape.last ?? 1
    let rows = logits.count / max(classes, 1)
    let probabilities = try Tensor(uninitialized: .float32, logits.shape)
    Reduction.softmaxRows(logits.floats, into: probabilities.floats, rows: rows, columns: classes)
    let labels: [Int64] = (0..<rows).map { row in
      var rest = random.uniform()
      for i in 0..<classes {
        rest -= Double(probabilities.floats[row * classes + i])
        if rest < 0 { return Int64(i) }
      }
      return Int64(classes - 1)
    }
    return try Tensor(labels, shape: Array(logits.shape.dropLast()))
  }

  /// The output with unit normal noise: with half the squared distance as the loss, −log of a unit normal.
  public static func outputs(_ output: Tensor, _ random: inout Random) throws(CetError) -> Tensor {
    try Tensor((0..<output.count).map { output.floats[$0] + Float(random.normal()) }, shape: output.shape)
  }
}
