import CetAutodiff
import CetMeasure
import CetQuantize
import CetTensor

/// Calibration data cut into batches, of a size that depends on data and model alone, never on the number of threads:
/// sums over batches are then the same for any number.
struct BatchCut {
  private(set) var batches: [Batch] = []
  /// Whether the last batch has as many samples as batches of its kind have.
  private(set) var lastIsFull = true
  /// How many samples the model takes at a time; nil: any number.
  private let fixedSize: Int?
  var sampleCount: Int { batches.reduce(0) { $0 + $1.sampleCount } }

  /// - Parameters:
  ///   - size: asked for by the caller.
  ///   - usual: the largest size where none is asked for.
  init(_ data: Calibration, size: Int?, usual: Int, fixedSize: Int?) throws(CetError) {
    if let size, let fixedSize, size != fixedSize {
      throw CetError(.invalidArgument, "option batch_size: the model takes batches of \(fixedSize), got \(size)")
    }
    self.fixedSize = fixedSize
    for part in data.batches {
      let elements = part.inputs.reduce(0) { $0 + $1.tensor.count } / max(1, part.sampleCount)
      let step = fixedSize ?? size ?? min(SamplePolicy.batchSize(elements: elements), usual)
      var start = 0
      while start < part.sampleCount {
        let end = min(start + step, part.sampleCount)
        guard fixedSize == nil || end - start == step else {
          throw CetError(
            .shapeMismatch,
            "the model takes batches of \(step), the calibration's \(part.sampleCount) samples are no multiple of it")
        }
        batches.append(try BatchCut.batch(part, start..<end))
        lastIsFull = end - start == step
        start = end
      }
    }
    guard !batches.isEmpty else { throw CetError(.invalidArgument, "the calibration has no samples") }
  }

  private static func batch(_ part: Calibration.Batch, _ range: Range<Int>) throws(CetError) -> Batch {
    let rows = try part.samples(range)
    return try Batch(
      inputs: Dictionary(
        try rows.inputs.map { name, tensor throws(CetError) in (name, try widened(tensor)) }, uniquingKeysWith: { $1 }),
      sampleAxes: rows.sampleAxes, labels: rows.labels, sampleCount: range.count)
  }

  /// Models run in float32.
  private static func widened(_ tensor: Tensor) throws(CetError) -> Tensor {
    guard tensor.type == .float16 || tensor.type == .bfloat16 else { return tensor }
    return try Conversion.convert(tensor, to: .float32, ComputeContext())
  }

  /// Where samples of a batch influence each other, cuts the data into batches of one and says so, or throws when a sample
  /// alone has no loss.
  /// - Parameter isShared: among processes, which have agreed on batches.
  mutating func keepApart(_ data: Calibration, _ bound: BoundModel, isShared: Bool) throws(CetError) -> String? {
    guard var batch = batches.max(by: { $0.sampleCount < $1.sampleCount }), fixedSize != 1 else { return nil }
    let size = batch.sampleCount
    if size == 1, let part = data.batches.max(by: { $0.sampleCount < $1.sampleCount }) {
      batch = try BatchCut.batch(part, 0..<min(SamplePolicy.lookedAtTogether, part.sampleCount))
    }
    guard batch.sampleCount > 1 else { return nil }
    let influence = "samples of a batch influence each other there"
    switch try SampleIndependence(bound, batch, isFixed: fixedSize != nil) {
    case .independent: return nil
    case .inThisSize(let node) where fixedSize != nil:
      return "\(node): \(influence): the model is run in batches of \(batch.sampleCount), which is all it takes"
    case .inThisSize(let node):
      guard let other = batches.first(where: { $0.sampleCount != batch.sampleCount }) else { return nil }
      throw CetError(
        .shapeMismatch,
        "\(node): the model gives every sample its own output in batches of \(batch.sampleCount) only, this batch has \(other.sampleCount) samples")
    case .never(let node, let output):
      let found = output.map { "output '\(bound.output)' is \($0.shapeText) for one sample, expected one entry" }
        ?? "the model takes batches of \(batch.sampleCount) samples, not of one"
      throw CetError(.shapeMismatch, "\(node): \(influence) and a sample alone has no loss: \(found)")
    case .alone(let node):
      guard !isShared || size == 1 else {
        throw CetError(
          .invalidArgument, "\(node): \(influence): with a communicator expected batch_size 1, got batches of \(size)")
      }
      if size > 1 { batches = try BatchCut(data, size: 1, usual: 1, fixedSize: nil).batches }
      lastIsFull = true
      return "\(node): \(influence): every sample is run by itself (batch_size 1)"
    }
  }
}
