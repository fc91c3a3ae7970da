import CetGraph
import CetTensor
import Glibc

let resizeOperators: [OperatorEntry] = [
  OperatorEntry("Resize", versions: 10...newestOpset) { call in
    let x = try call.input(0)
    let axes = try call.ints("axes").map { try $0.map { try call.axis($0, rank: x.rank) } } ?? Array(0..<x.rank)
    var options = ResizeOptions()
    options.mode = try call.string("mode", "nearest")
    options.coordinates = try call.opset < 11 ? "asymmetric" : call.string("coordinate_transformation_mode", "half_pixel")
    options.nearest = try call.opset < 11 ? "floor" : call.string("nearest_mode", "round_prefer_floor")
    options.cubic = try call.float("cubic_coeff_a", -0.75)
    options.excludesOutside = try call.int("exclude_outside", 0) != 0
    options.antialiases = try call.int("antialias", 0) != 0
    options.outside = try call.float("extrapolation_value", 0)
    let scaleIndex = call.opset < 11 ? 1 : 2
    var regions = [(Double, Double)](repeating: (0, 1), count: axes.count)
    if options.coordinates == "tf_crop_and_resize" {
      let roi = try call.knownDoubles(1, "roi")
      guard roi.count == 2 * axes.count else { throw CetError(.shapeMismatch, "roi has \(roi.count) numbers for \(axes.count) axes") }
      regions = axes.indices.map { (roi[$0], roi[$0 + axes.count]) }
    }
    let given = try call.has(scaleIndex) ? call.knownDoubles(scaleIndex, "scales") : []
    if !given.isEmpty { return [try resized(x, axes, scales: given, sizes: nil, regions, options, call.e)] }
    guard call.has(3) else { throw CetError(.invalidModel, "neither scales nor sizes are given") }
    var sizes = try call.knownInts(3, "sizes")
    guard sizes.count == axes.count, sizes.allSatisfy({ $0 >= 0 && $0 < 1 << 24 }) else { throw CetError(.shapeMismatch, "\(sizes.count) sizes for \(axes.count) axes") }
    var scales = zip(axes, sizes).map { Double($1) / Double(max(x.shape[$0], 1)) }
    let policy = try call.string("keep_aspect_ratio_policy", "stretch")
    guard scales.allSatisfy({ $0 * Double(x.shape.max() ?? 0) < 0x1p24 }) else { throw CetError(.shapeMismatch, "sizes \(sizes)") }
    if policy != "stretch", let low = scales.min(), let high = scales.max() {
      let scale = policy == "not_larger" ? low : high
      scales = scales.map { _ in scale }
      sizes = axes.map { Int(saturating: (scale * Double(x.shape[$0]) + 0.5).rounded(.down)) }
    }
    return [try resized(x, axes, scales: scales, sizes: sizes, regions, options, call.e)]
  },
  OperatorEntry("Upsample", versions: 7...9) { call in
    let x = try call.input(0)
    guard let scales = try call.opset >= 9 ? call.knownDoubles(1, "scales") : call.floats("scales") else {
      throw CetError(.invalidModel, "scales are missing")
    }
    var options = ResizeOptions()
    options.mode = try call.string("mode", "nearest")
    options.coordinates = "asymmetric"
    options.nearest = "floor"
    let whole = [(Double, Double)](repeating: (0, 1), count: x.rank)
    return [try resized(x, Array(0..<x.rank), scales: scales, sizes: nil, whole, options, call.e)]
  },
]

struct ResizeOptions {
  var mode = "nearest"
  var coordinates = "half_pixel"
  var nearest = "round_prefer_floor"
  var cubic = -0.75
  var excludesOutside = false
  var antialiases = false
  var outside = 0.0
}

/// One output position along an axis: y = Σ weight·x[index] + constant.
private struct Tap {
  var indices: [Int]
  var weights: [Double]
  var constant = 0.0
}

/// Interpolation is separable: one linear map for each axis.
private func resized(
  _ input: Value, _ axes: [Int], scales: [Double], sizes: [Int]?, _ regions: [(Double, Double)], _ options: ResizeOptions,
  _ e: Emitter
) throws -> Value {
  guard scales.count == axes.count, scales.allSatisfy({ $0 > 0 && $0.isFinite }) else {
    throw CetError(.shapeMismatch, "scales \(scales) do not fit \(axes.count) axes")
  }
  var whole = input.shape
  for (k, axis) in axes.enumerated() {
    let size = whole[axis]
    let product = scales[k] * Double(size)
    guard product < 0x1p24, size > 0 || sizes?[k] ?? 0 == 0 else { throw CetError(.shapeMismatch, "axis \(axis) resizes from \(size)") }
    whole[axis] = sizes?[k] ?? Int(saturating: product.rounded(.down))
  }
  try e.reserve(input.element, whole)
  var x = input
  for (k, axis) in axes.enumerated() {
    let (size, count) = (x.shape[axis], whole[axis])
    if count == size && scales[k] == 1 && options.coordinates != "tf_crop_and_resize" { continue }
    try e.foresee(entries: count, width: 512, work: 512, "the weights of \(count) positions")
    let taps = try (0..<count).map {
      if $0 & 0xFFFF == 0 { try e.context.interruption.check() }
      return try tap($0, size: size, count: count, scale: scales[k], region: regions[k], options)
    }
    x = try interpolated(x, axis, taps, e)
  }
  return x
}

private func interpolated(_ x: Value, _ axis: Int, _ taps: [Tap], _ e: Emitter) throws -> Value {
  let width = taps.map(\.indices.count).max() ?? 0
  let size = x.shape[axis]
  if width <= 1, taps.allSatisfy({ $0.weights == [1] && $0.constant == 0 }) {
    return try e.emit(Gather(axis: axis), x, e.integers(taps.map { $0.indices[0] }))
  }
  var line = [Int](repeating: 1, count: x.rank)
  line[axis] = taps.count
  func row(_ numbers: [Double], _ element: ElementType) throws -> Value {
    try e.convert(e.reshape(e.constant(Tensor(numbers, shape: [numbers.count])), line), to: element)
  }
  let wide = try x.element.isFloatingPoint ? x : e.convert(x, to: .float32)
  var y: Value?
  if width <= 4 {
    for k in 0..<width {
      let picked = try e.emit(Gather(axis: axis), wide, e.integers(taps.map { k < $0.indices.count ? $0.indices[k] : 0 }))
      y = try e.sum(y, e.multiply(picked, row(taps.map { k < $0.weights.count ? $0.weights[k] : 0 }, wide.element)))
    }
  } else {  // y = x·Mᵀ along the axis
    try e.foresee(entries: .saturatingProduct(taps.count, size), width: 32, work: 2, "the weights of \(taps.count) positions of \(size)")
    var matrix = [Double](repeating: 0, count: taps.count * size)
    for (o, tap) in taps.enumerated() {
      for (index, weight) in zip(tap.indices, tap.weights) { matrix[o * size + index] += weight }
    }
    var swap = Array(0..<x.rank)
    swap.swapAt(axis, x.rank - 1)
    let m = try e.convert(e.constant(Tensor(matrix, shape: [taps.count, size])), to: wide.element)
    let last = try e.transpose(wide, swap)
    let rows = last.shape.dropLast().reduce(1, *)
    let product = try e.matrixProduct(e.reshape(last, [rows, size]), m, transposeRight: true)
    y = try e.transpose(e.reshape(product, last.shape.dropLast() + [taps.count]), swap)
  }
  guard var result = y else { throw CetError(.shapeMismatch, "axis \(axis) resizes to nothing") }
  if taps.contains(where: { $0.constant != 0 }) { result = try e.add(result, row(taps.map(\.constant), wide.element)) }
  if x.element.isFloatingPoint { return result }
  return try e.convert(e.unary(.round, result), to: x.element)
}

private func tap(_ position: Int, size: Int, count: Int, scale: Double, region: (Double, Double), _ options: ResizeOptions) throws -> Tap {
  let (x, last) = (Double(position), Double(size - 1))
  let length = scale * Double(size)
  var place: Double
  switch options.coordinates {
  case "align_corners": place = length == 1 ? 0 : x * last / (length - 1)
  case "asymmetric": place = x / scale
  case "half_pixel": place = (x + 0.5) / scale - 0.5
  case "pytorch_half_pixel": place = length == 1 ? -0.5 : (x + 0.5) / scale - 0.5
  case "half_pixel_symmetric":
    place = Double(size) / 2 * (1 - Double(count) / length) + (x + 0.5) / scale - 0.5
  case "tf_half_pixel_for_nn": place = (x + 0.5) / scale
  case "tf_crop_and_resize":
    let extent = (region.1 - region.0) * last
    place = length == 1 ? extent / 2 : x * extent / (length - 1)
    place += region.0 * last
    if place < 0 || place > last { return Tap(indices: [0], weights: [0], constant: options.outside) }
  default: throw CetError(.unsupportedOperator, "coordinate_transformation_mode '\(options.coordinates)'")
  }
  guard place.magnitude < 0x1p31, scale * 0x1p24 > 1 else { throw CetError(.shapeMismatch, "scale \(scale) of \(size)") }
  let base = Int(saturating: place.rounded(.down))
  let ratio = place - Double(base)
  func inside(_ index: Int) -> Int { min(max(index, 0), size - 1) }
  let shrink = options.antialiases ? min(scale, 1) : 1
  var (first, weights): (Int, [Double])
  switch options.mode {
  case "nearest":
    let up =
      switch options.nearest {
      case "floor": false
      case "ceil": ratio > 0
      case "round_prefer_floor": ratio > 0.5
      case "round_prefer_ceil": ratio >= 0.5
      default: throw CetError(.unsupportedOperator, "nearest_mode '\(options.nearest)'")
      }
    return Tap(indices: [inside(up ? base + 1 : base)], weights: [1])
  case "linear":
    first = 1 + Int(saturating: (-1 / shrink).rounded(.down))
    weights = (first...(1 - first)).map { max(0, 1 - abs((Double($0) - ratio) * shrink)) }
  case "cubic":
    first = 1 + Int(saturating: (-2 / shrink).rounded(.down))
    weights = (first...(1 - first)).map { cubic(abs((Double($0) - ratio) * shrink), options.cubic) }
  default: throw CetError(.unsupportedOperator, "mode '\(options.mode)'")
  }
  if options.excludesOutside {
    for k in weights.indices where base + first + k < 0 || base + first + k >= size { weights[k] = 0 }
  }
  let total = weights.reduce(0, +)
  if total != 0 { weights = weights.map { $0 / total } }
  return Tap(indices: weights.indices.map { inside(base + first + $0) }, weights: weights)
}

/// Keys' cubic kernel with coefficient a.
private func cubic(_ x: Double, _ a: Double) -> Double {
  if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
  if x < 2 { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
  return 0
}
