import CetGraph
import CetTensor
import Glibc

let signalOperators: [OperatorEntry] = [
  window("HannWindow", [0.5, -0.5, 0]), window("HammingWindow", [25.0 / 46, -21.0 / 46, 0]),
  window("BlackmanWindow", [0.42, -0.5, 0.08]),
  OperatorEntry("DFT", versions: 17...newestOpset) { call in
    let x = try call.input(0)
    let (inverse, oneSided) = (try call.int("inverse", 0) != 0, try call.int("onesided", 0) != 0)
    let raw = try call.opset >= 20 ? (call.has(2) ? call.knownInt(2, "axis") : -2) : call.int("axis", 1)
    let axis = try call.axis(raw, rank: x.rank)
    guard axis < x.rank - 1 else { throw CetError(.shapeMismatch, "the last axis holds real and imaginary parts") }
    let standard = inverse && oneSided ? 2 * (x.shape[axis] - 1) : x.shape[axis]
    let length = try call.has(1) ? call.knownInt(1, "dft_length") : standard
    return [try fourier(x, axis: axis, length: length, inverse: inverse, oneSided: oneSided, call.e)]
  },
  // Frames of the signal, each times the window and transformed
  OperatorEntry("STFT", versions: 17...newestOpset) { call in
    let e = call.e
    var signal = try call.input(0)
    if signal.rank == 2 { signal = try e.reshape(signal, signal.shape + [1]) }
    let step = try call.knownInt(1, "frame_step")
    let named = try call.has(3) ? call.knownInt(3, "frame_length") : call.optional(2)?.shape.first
    guard signal.rank == 3, let length = named, step > 0, length > 0, length <= signal.shape[1], step < 1 << 31 else {
      throw CetError(.shapeMismatch, "frames of a signal \(signal.shape.shapeText)")
    }
    let frames = (signal.shape[1] - length) / step + 1
    try e.reserve(.saturatingProduct(frames, length), "the places of \(frames) frames of \(length)")
    let rows = try e.reshape(e.indices([frames, length]) { $0[0] * step + $0[1] }, [frames * length])
    var x = try e.reshape(
      e.emit(Gather(axis: 1), signal, rows), [signal.shape[0], frames, length, signal.shape[2]])
    if let window = call.optional(2) { x = try e.multiply(x, e.reshape(window, [1, 1, length, 1])) }
    return [try fourier(x, axis: 2, length: length, inverse: false, oneSided: call.int("onesided", 1) != 0, e)]
  },
  // Triangles that are equally wide on the mel scale 2595 log₁₀(1 + f/700)
  OperatorEntry("MelWeightMatrix", versions: 17...newestOpset, derivatives: .zero) { call in
    let e = call.e
    let (bins, length) = (try call.knownInt(0, "num_mel_bins"), try call.knownInt(1, "dft_length"))
    let rate = try call.knownScalar(2, "sample_rate")
    func mel(_ hertz: Double) -> Double { 2595 * log10(1 + hertz / 700) }
    let (low, high) = (mel(try call.knownScalar(3, "lower_edge_hertz")), mel(try call.knownScalar(4, "upper_edge_hertz")))
    let rows = length / 2 + 1
    guard bins > 0, rows > 0, bins < 1 << 13, rows < 1 << 13, rate > 0, low.isFinite, high.isFinite else {
      throw CetError(.invalidArgument, "\(bins) mel bins of \(rows) frequencies")
    }
    let step = (high - low) / Double(bins + 2)
    let edges: [Int] = (0..<(bins + 2)).map { k in
      let hertz = 700 * (pow(10, (low + Double(k) * step) / 2595) - 1)
      return Int(saturating: min(max((Double(length + 1) * hertz / rate).rounded(.down), 0), Double(rows)))
    }
    try e.foresee(entries: rows * bins, width: 32, work: 4, "a matrix of \(bins) mel bins of \(rows) frequencies")
    var matrix = [Double](repeating: 0, count: rows * bins)
    for bin in 0..<bins {
      let (left, centre, right) = (edges[bin], edges[bin + 1], edges[bin + 2])
      if centre == left { if centre < rows { matrix[centre * bins + bin] = 1 } }
      for row in left..<max(left, min(centre + 1, rows)) where centre > left {
        matrix[row * bins + bin] = Double(row - left) / Double(centre - left)
      }
      for row in centre..<max(centre, min(right, rows)) where right > centre {
        matrix[row * bins + bin] = Double(right - row) / Double(right - centre)
      }
    }
    return [try e.convert(e.constant(Tensor(matrix, shape: [rows, bins])), to: call.elementType("output_datatype") ?? .float32)]
  },
]

/// Σ cₖ cos(2πkn/N) with N the size, or the size minus 1 for a symmetric window.
private func window(_ type: String, _ coefficients: [Double]) -> OperatorEntry {
  OperatorEntry(type, versions: 17...newestOpset, derivatives: .zero) { call in
    let size = try call.knownInt(0, "size")
    guard size >= 0, size < 1 << 24 else { throw CetError(.invalidArgument, "a window of \(size)") }
    try call.e.foresee(entries: size, width: 32, work: 64, "a window of \(size)")
    let period = Double(try call.int("periodic", 1) != 0 ? size : size - 1)
    let values = (0..<size).map { n in
      coefficients.indices.reduce(0.0) { $0 + coefficients[$1] * cos(2 * Double.pi * Double($1 * n) / max(period, 1)) }
    }
    let constant = call.e.constant(try Tensor(values, shape: [size]))
    return [try call.e.convert(constant, to: call.elementType("output_datatype") ?? .float32)]
  }
}

/// The discrete Fourier transform along an axis as a matrix product; the last axis holds real and imaginary
/// parts, or real parts alone. One-sided: of a real signal the first half of the spectrum, and back.
private func fourier(_ input: Value, axis: Int, length: Int, inverse: Bool, oneSided: Bool, _ e: Emitter) throws -> Value {
  guard let parts = input.shape.last, parts == 1 || parts == 2, length > 0, length <= 1 << 12 else {
    throw CetError(.unsupportedOperator, "a transform of length \(length) of \(input.shape.shapeText)")
  }
  let spectrum = length / 2 + 1
  // Rows that are read; what is missing counts as zero.
  let used = min(input.shape[axis], inverse && oneSided ? spectrum : length)
  let outputs = oneSided && !inverse ? spectrum : length
  let outputParts = oneSided && inverse ? 1 : 2
  try e.foresee(entries: used * parts * outputs * outputParts, width: 32, work: 16, "the matrix of a transform of \(length)")
  var matrix = [Double](repeating: 0, count: used * parts * outputs * outputParts)
  for n in 0..<used {
    try e.context.interruption.check()
    // One-sided input stands for its mirror image as well, except the first and, for even lengths, the last.
    let twice = oneSided && inverse && n != 0 && 2 * n != length
    let scale = (inverse ? 1 / Double(length) : 1) * (twice ? 2 : 1)
    for k in 0..<outputs {
      let angle = (inverse ? 2 : -2) * Double.pi * Double(n * k % length) / Double(length)
      let (c, s) = (cos(angle) * scale, sin(angle) * scale)
      func set(_ part: Int, _ outputPart: Int, _ value: Double) {
        guard part < parts, outputPart < outputParts else { return }
        matrix[(n * parts + part) * outputs * outputParts + k * outputParts + outputPart] = value
      }
      set(0, 0, c)
      set(0, 1, s)
      set(1, 0, -s)
      set(1, 1, c)
    }
  }
  let x = try e.slice(input, axis: axis, from: 0, count: used)
  let rank = x.rank
  let order = (0..<rank).filter { $0 != axis && $0 != rank - 1 } + [axis, rank - 1]
  let moved = try e.transpose(x, order)
  let lead = Array(moved.shape.dropLast(2))
  let m = try e.convert(e.constant(Tensor(matrix, shape: [used * parts, outputs * outputParts])), to: x.element)
  let product = try e.matrixProduct(e.reshape(moved, [lead.reduce(1, *), used * parts]), m)
  let split = try e.reshape(product, lead + [outputs, outputParts])
  var back = [Int](repeating: 0, count: rank)
  for (to, from) in order.enumerated() { back[from] = to }
  return try e.transpose(split, back)
}
