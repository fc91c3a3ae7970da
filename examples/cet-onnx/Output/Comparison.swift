/// How far the outputs of two models are apart.
struct Comparison {
  struct Output {
    var name: String
    var largestDifference = 0.0
    var largestReference = 0.0
    /// Rows (samples, or positions of them) with the same largest class, when the output has classes.
    var rows = 0
    var agreeingRows = 0
    /// By sample.
    var sampleDifferences: [Double] = []
    fileprivate var product = 0.0
    fileprivate var squares = (found: 0.0, reference: 0.0)
  }

  private(set) var outputs: [Output] = []
  private(set) var samples = 0
  private let hasReference: Bool

  init(hasReference: Bool) { self.hasReference = hasReference }

  mutating func add(_ found: [OutputValues], _ reference: [OutputValues]?, samples count: Int) throws {
    samples += count
    for values in found {
      if let bad = values.values.firstIndex(where: { !$0.isFinite }) {
        throw Failure("output '\(values.name)' has \(values.values[bad]) at element \(bad)")
      }
      let index = outputs.firstIndex { $0.name == values.name } ?? outputs.count
      if index == outputs.count { outputs.append(Output(name: values.name)) }
      guard let reference else { continue }
      guard let other = reference.first(where: { $0.name == values.name }) else {
        throw Failure("the model to compare with has no output '\(values.name)'")
      }
      guard other.shape == values.shape else {
        throw Failure("output '\(values.name)' has shape \(values.shape), the model to compare with has \(other.shape)")
      }
      outputs[index].add(values, other, samples: count)
    }
  }

  /// Runs both models on the same samples together: as many as one of them fixes, else as many as were asked for.
  /// - Parameters:
  ///   - other: what `model` is compared with; nil: it is only run.
  ///   - start: the sample of each batch that is run first.
  ///   - most: samples that are run at most.
  static func of(
    _ model: Model, with other: Model?, _ samples: CalibrationSet, batchSize: UInt32? = nil, from start: Int = 0, most: Int = .max,
    threads: UInt32, _ monitor: Monitor
  ) throws -> Comparison {
    var comparison = Comparison(hasReference: other != nil)
    let size = try batchSize ?? model.fixedBatchSize() ?? other?.fixedBatchSize() ?? 0
    for batch in 0..<samples.batchCount {
      var first = start
      while comparison.samples < most {
        try Interrupt.check()
        let found = try model.run(samples, batch: batch, first: first, size: size, threads: threads)
        guard found.samples > 0 else { break }
        let reference = try other?.run(samples, batch: batch, first: first, size: size, threads: threads)
        try comparison.add(found.outputs, reference?.outputs, samples: found.samples)
        first += found.samples
        monitor.show("run", comparison.samples, min(most, samples.sampleCount))
      }
    }
    return comparison
  }

  var members: [(String, JSONText)] {
    let list = outputs.map { output in
      var members: [(String, JSONText)] = [("name", .string(output.name))]
      if hasReference {
        members += [
          ("max_abs_difference", .number(output.largestDifference)),
          ("max_abs_reference", .number(output.largestReference)),
          ("top1_agreement", output.agreement.map { .number($0) } ?? .null),
          ("cosine", .number(output.cosine)),
        ]
      }
      return JSONText.object(members)
    }
    return [("samples", .integer(UInt64(samples))), ("outputs", .array(list))]
  }

  var text: String {
    var entries: [(name: String, value: String)] = [("samples", grouped(UInt64(samples)))]
    for output in outputs {
      guard hasReference else {
        entries.append(("output \(output.name)", "finite"))
        continue
      }
      let agreement = output.agreement.map { ", top-1 agreement \(fixed(100 * $0))%" } ?? ""
      entries.append((
        "output \(output.name)",
        "max|diff| \(scientific(output.largestDifference)) (max|reference| \(scientific(output.largestReference))), cosine \(fixed(output.cosine, 6))"
          + agreement
      ))
    }
    return listing(entries)
  }
}

extension Comparison.Output {
  /// Share of rows; nil when the output has no classes.
  var agreement: Double? { rows == 0 ? nil : Double(agreeingRows) / Double(rows) }

  /// Between all values of both models; NaN where one has zeros alone.
  var cosine: Double { product / (squares.found * squares.reference).squareRoot() }

  fileprivate mutating func add(_ found: OutputValues, _ reference: OutputValues, samples: Int) {
    addSamples(found.values, reference.values, samples)
    for (a, b) in zip(found.values, reference.values) {
      product += a * b
      squares = (squares.found + a * a, squares.reference + b * b)
      let difference = abs(a - b)
      // A NaN of the reference counts as the largest difference.
      if !(difference <= largestDifference) { largestDifference = difference.isNaN ? .infinity : difference }
      largestReference = max(largestReference, abs(b))
    }
    guard found.shape.count >= 2, let classes = found.shape.last, classes >= 2 else { return }
    for start in stride(from: 0, to: found.values.count, by: classes) {
      rows += 1
      let range = start..<start + classes
      if largest(found.values[range]) == largest(reference.values[range]) { agreeingRows += 1 }
    }
  }

  /// Outputs that have their samples in front.
  private mutating func addSamples(_ found: [Double], _ reference: [Double], _ samples: Int) {
    guard samples > 0, found.count % samples == 0 else { return }
    let length = found.count / samples
    for sample in 0..<samples {
      let range = sample * length..<(sample + 1) * length
      sampleDifferences.append(range.reduce(0.0) { max($0, abs(found[$1] - reference[$1])) })
    }
  }

  private func largest(_ row: ArraySlice<Double>) -> Int {
    (row.indices.max { (row[$0], $1) < (row[$1], $0) } ?? row.startIndex) - row.startIndex
  }
}
