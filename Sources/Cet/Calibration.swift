import CetFormats
import CetTensor

/// Calibration samples: batches of named arrays, one entry of the sample axis a sample, and optional labels.
public struct Calibration: Sendable {
  public struct Batch: Sendable {
    public var inputs: [(name: String, tensor: Tensor)]
    /// Class indices, int64 in a calibration that fits a model.
    public var labels: Tensor?
    public var sampleCount: Int
    /// The sample axis of each input; inputs without one belong to every sample. Known once the set fits a model
    /// (`SampleAxes`).
    public var sampleAxes: [String: Int] = [:]

    public func input(_ name: String) -> Tensor? { inputs.first { $0.name == name }?.tensor }

    /// The samples of a range.
    public func samples(_ range: Range<Int>) throws(CetError) -> Batch {
      Batch(
        inputs: try inputs.map { name, tensor throws(CetError) in
          (name, try sampleAxes[name].map { axis throws(CetError) in try tensor.entries(range, axis: axis) } ?? tensor)
        },
        labels: try labels.map { labels throws(CetError) in try labels.entries(range, axis: 0) }, sampleCount: range.count,
        sampleAxes: sampleAxes)
    }
  }

  public private(set) var batches: [Batch] = []
  /// Whether the arrays came from a file: such a set may hold arrays that are no inputs, and nothing was checked yet.
  private var isFromFile = false
  private var unusable: [String: CetError] = [:]

  public init() {}

  public var sampleCount: Int { batches.reduce(0) { $0 &+ $1.sampleCount } }
  public var hasLabels: Bool { batches.first?.labels != nil }

  /// Adds one batch of arrays named like the model's inputs.
  public mutating func add(inputs: [(name: String, tensor: Tensor)], labels: Tensor? = nil) throws(CetError) {
    guard !isFromFile else { throw CetError(.invalidArgument, "a calibration read from a file takes no more batches") }
    guard let first = inputs.first else { throw CetError(.invalidArgument, "a batch needs at least one input") }
    guard let count = Calibration.sampleCount(inputs, labels: labels), count > 0 else {
      throw CetError(
        .shapeMismatch, "input '\(first.name)' has shape \(first.tensor.shape.shapeText), expected samples on axis 0"
      ).with(.input, first.name).with(.expected, "samples on axis 0").with(.got, first.tensor.shape.shapeText)
    }
    for (index, input) in inputs.enumerated() {
      guard !inputs[..<index].contains(where: { $0.name == input.name }) else {
        throw CetError(.invalidArgument, "input '\(input.name)' appears twice in the batch").with(.input, input.name)
      }
      if !Calibration.goes(input.tensor.shape, with: count) {
        try checkSampleAxis("input '\(input.name)'", input.tensor, count)
      }
      try checkFinite("input '\(input.name)'", input.tensor, firstSample: sampleCount)
    }
    if let former = batches.first { try checkAgreement(inputs, labels: labels, with: former) }
    var checked: Tensor?
    if let labels {
      try checkSampleAxis("labels", labels, count)
      checked = try classIndices(labels, firstSample: sampleCount)
    }
    batches.append(Batch(inputs: inputs, labels: checked, sampleCount: count))
  }

  /// The size of axis 0 that goes with all arrays, most of them first; where no size does, the first array's. Only the
  /// model can tell for sure.
  private static func sampleCount(_ inputs: [(name: String, tensor: Tensor)], labels: Tensor?) -> Int? {
    let shapes = (inputs.map(\.tensor) + [labels].compactMap { $0 }).map(\.shape).filter { !$0.isEmpty }
    var best: (size: Int, votes: Int)?
    for size in shapes.map({ $0[0] }) where shapes.allSatisfy({ goes($0, with: size) }) {
      let votes = shapes.count { $0[0] == size }
      if votes > best?.votes ?? 0 { best = (size, votes) }
    }
    return best?.size ?? shapes.first?.first
  }

  /// Whether an array can be one of so many samples: with them on axis 0, further inside where it is a state of rank 3
  /// or more, or one value for all.
  private static func goes(_ shape: [Int], with count: Int) -> Bool {
    shape.isEmpty || shape[0] == count || shape.contains(1) || (shape.count >= 3 && shape.contains(count))
  }

  private func checkAgreement(
    _ inputs: [(name: String, tensor: Tensor)], labels: Tensor?, with former: Batch
  ) throws(CetError) {
    let place = "batch \(batches.count)"
    for (name, tensor) in inputs {
      guard let other = former.input(name) else {
        throw CetError(.invalidArgument, "\(place): input '\(name)' is not in batch 0").with(.input, name)
      }
      guard other.type == tensor.type else {
        throw CetError(.invalidArgument, "\(place): input '\(name)' is \(tensor.type), in batch 0 it is \(other.type)")
          .with(.input, name).with(.expected, "\(other.type)").with(.got, "\(tensor.type)")
      }
      guard other.rank == tensor.rank else {
        throw CetError(
          .shapeMismatch,
          "\(place): input '\(name)' has shape \(tensor.shape.shapeText), in batch 0 \(other.shape.shapeText)"
        ).with(.input, name).with(.expected, other.shape.shapeText).with(.got, tensor.shape.shapeText)
      }
    }
    guard inputs.count == former.inputs.count else {
      throw CetError(.invalidArgument, "\(place): \(inputs.count) inputs, batch 0 has \(former.inputs.count)")
    }
    guard (labels != nil) == (former.labels != nil) else {
      let found = labels == nil ? "no labels, batch 0 has some" : "labels, batch 0 has none"
      throw CetError(.invalidArgument, "\(place): \(found)")
    }
  }

  /// An .npz file or a folder of .npy files, as one batch. Which arrays are inputs only the model can tell, so the
  /// arrays are checked by `fitted`.
  public init(npz path: String) throws(CetError) {
    let found = try NamedArrays(path: path)
    isFromFile = true
    unusable = found.unusable
    let labels = found.arrays.first { $0.name == "labels" }?.tensor
    let inputs = found.arrays.filter { $0.name != "labels" }
    // Arrays that are no inputs may have other sizes.
    let count = Calibration.sampleCount(inputs, labels: labels) ?? 0
    batches = [Batch(inputs: inputs, labels: labels, sampleCount: count)]
  }

  /// Arrays from a file of the library's own, which the model checks like those of any file.
  init(saved arrays: [(inputs: [(name: String, tensor: Tensor)], labels: Tensor?)]) {
    isFromFile = true
    batches = arrays.map { inputs, labels in
      Batch(inputs: inputs, labels: labels, sampleCount: Calibration.sampleCount(inputs, labels: labels) ?? 0)
    }
  }

  /// An array of a batch by its name; `labels` are the labels unless an input has that name.
  public func array(_ name: String, in batch: Batch) throws(CetError) -> Tensor {
    if let tensor = batch.input(name) ?? (name == "labels" ? batch.labels : nil) { return tensor }
    throw unusable[name] ?? CetError(.invalidArgument, "the calibration has no array '\(name)'")
  }

  /// The first samples of the set; the set itself when it has no more than that.
  public func prefix(_ samples: Int?) throws(CetError) -> Calibration {
    guard let samples, samples < sampleCount else { return self }
    var result = self
    result.batches = []
    var left = samples
    for batch in batches where left > 0 {
      let taken = Swift.min(left, batch.sampleCount)
      result.batches.append(try batch.samples(0..<taken))
      left -= taken
    }
    return result
  }

  /// The set as a model needs it: its required inputs in their order and nothing else, labels as int64. Throws when
  /// names, element types, ranks or fixed sizes do not agree. Which axis counts samples is what `SampleAxes` says.
  /// - Parameter fixed: inputs of the model that are initializers: calibration data must not feed those.
  public func fitted(to required: [ValueInfo], fixed: [ValueInfo] = []) throws(CetError) -> Calibration {
    guard sampleCount > 0 else { throw CetError(.invalidArgument, "the calibration has no samples") }
    var result = self
    result.batches = []
    result.isFromFile = false
    if let info = fixed.first(where: { batches[0].input($0.name) != nil }) {
      throw CetError(
        .invalidArgument, "input '\(info.name)' is an initializer of the model, which calibration data cannot replace")
    }
    for batch in batches {
      let place = batches.count > 1 ? "batch \(result.batches.count): " : ""
      do {
        result.batches.append(try fit(batch, to: required, firstSample: result.sampleCount))
      } catch {
        throw error.prefixed(place)
      }
    }
    return result
  }

  private func fit(_ batch: Batch, to required: [ValueInfo], firstSample: Int) throws(CetError) -> Batch {
    var labels = batch.labels
    var inputs: [(name: String, tensor: Tensor)] = []
    for info in required {
      var found = batch.input(info.name)
      if found == nil, isFromFile, info.name == "labels" {
        found = labels
        labels = nil
      }
      guard var tensor = found else {
        if let reason = unusable[info.name] { throw reason }
        let names = (batch.inputs.map(\.name) + (batch.labels == nil ? [] : ["labels"])).map { "'\($0)'" }
        throw CetError(
          .invalidArgument,
          "the calibration has no array for model input '\(info.name)' (it has \(names.joined(separator: ", ")))"
        ).with(.input, info.name)
      }
      if info.type == .float16, tensor.type == .float32 { tensor = try narrowed(tensor) }
      tensor = try widened(tensor, for: info)
      inputs.append((info.name, tensor))
    }
    if !isFromFile {
      for (name, _) in batch.inputs where !required.contains(where: { $0.name == name }) {
        let names = required.map { "'\($0.name)'" }.joined(separator: ", ")
        throw CetError(.invalidArgument, "the model has no input '\(name)' (it has \(names))").with(.input, name)
      }
    }
    let axes = try SampleAxes(required, inputs.map(\.tensor))
    for (info, input) in zip(required, inputs) {
      let axis = axes.axis[info.name]
      try checkInput(info, input.tensor, sampleAxis: axis)
      if let axis, input.tensor.shape[axis] != axes.count {
        throw CetError(
          .shapeMismatch,
          "input '\(input.name)' has shape \(input.tensor.shape.shapeText), expected \(axes.count) samples on axis \(axis)"
        ).with(.input, input.name).with(.expected, "\(axes.count) samples on axis \(axis)").with(.got, input.tensor.shape.shapeText)
      }
      if isFromFile { try checkFinite("input '\(input.name)'", input.tensor, firstSample: firstSample) }
    }
    if let found = labels {
      try checkSampleAxis("labels", found, axes.count)
      if isFromFile { labels = try classIndices(found, firstSample: firstSample) }
    }
    return Batch(inputs: inputs, labels: labels, sampleCount: axes.count, sampleAxes: axes.axis)
  }
}
