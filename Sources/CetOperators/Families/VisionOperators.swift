import CetGraph
import CetTensor
import Glibc

let visionOperators: [OperatorEntry] = [
  OperatorEntry("DepthToSpace") { call in
    let (x, e) = (try call.input(0), call.e)
    guard x.rank == 4, let b = try call.int("blocksize"), b > 0, b < 1 << 15, x.shape[1] % (b * b) == 0 else {
      throw CetError(.shapeMismatch, "depth of \(x.shape.shapeText) does not divide into blocks")
    }
    let (n, c, h, w) = (x.shape[0], x.shape[1] / (b * b), x.shape[2], x.shape[3])
    let depthFirst = try call.string("mode", "DCR") == "DCR"
    let split = try e.reshape(x, depthFirst ? [n, b, b, c, h, w] : [n, c, b, b, h, w])
    return [try e.reshape(e.transpose(split, depthFirst ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3]), [n, c, h * b, w * b])]
  },
  OperatorEntry("SpaceToDepth") { call in
    let (x, e) = (try call.input(0), call.e)
    guard x.rank == 4, let b = try call.int("blocksize"), b > 0, b < 1 << 15, x.shape[2] % b == 0, x.shape[3] % b == 0 else {
      throw CetError(.shapeMismatch, "space of \(x.shape.shapeText) does not divide into blocks")
    }
    let (n, c, h, w) = (x.shape[0], x.shape[1], x.shape[2] / b, x.shape[3] / b)
    let depthFirst = try call.string("mode", "DCR") == "DCR"
    let split = try e.reshape(x, [n, c, h, b, w, b])
    return [try e.reshape(e.transpose(split, depthFirst ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4]), [n, c * b * b, h, w])]
  },
  OperatorEntry("CenterCropPad", versions: 18...newestOpset) { call in
    let e = call.e
    var x = try call.input(0)
    let sizes = try call.knownInts(1, "shape")
    let axes = try call.ints("axes").map { try $0.map { try call.axis($0, rank: x.rank) } } ?? Array(0..<x.rank)
    guard sizes.count == axes.count, sizes.allSatisfy({ $0 >= 0 && $0 < 1 << 31 }) else {
      throw CetError(.shapeMismatch, "shape \(sizes) does not fit axes \(axes)")
    }
    for (axis, size) in zip(axes, sizes) where size < x.shape[axis] {
      x = try e.slice(x, axis: axis, from: (x.shape[axis] - size) / 2, count: size)
    }
    var (shape, starts) = (x.shape, x.shape.map { _ in 0 })
    for (axis, size) in zip(axes, sizes) where size > x.shape[axis] {
      shape[axis] = size
      starts[axis] = (size - x.shape[axis]) / 2
    }
    return [shape == x.shape ? x : try e.emit(Embed(into: shape, starts: starts, steps: shape.map { _ in 1 }), x)]
  },
  // The transpose of taking windows apart: overlapping elements are added.
  OperatorEntry("Col2Im", versions: 18...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    let (image, block) = (try call.knownInts(1, "image_shape"), try call.knownInts(2, "block_shape"))
    guard x.rank == 3, image.count == block.count, !image.isEmpty, (image + block).allSatisfy({ $0 > 0 && $0 < 1 << 24 }) else {
      throw CetError(.shapeMismatch, "image_shape \(image), block_shape \(block), input \(x.shape.shapeText)")
    }
    let area = block.reduce(1, &*)
    guard area > 0, x.shape[1] % area == 0 else { throw CetError(.shapeMismatch, "blocks of \(area) in \(x.shape.shapeText)") }
    let geometry = try Window(call.attributes, spatial: image, kernel: block)
    let counts = image.indices.map { axis in
      (image[axis] + geometry.padsBegin[axis] + geometry.padsEnd[axis] - (block[axis] - 1) * geometry.dilations[axis] - 1)
        / geometry.strides[axis] + 1
    }
    guard counts.allSatisfy({ $0 > 0 }), counts.reduce(1, &*) == x.shape[2] else {
      throw CetError(.shapeMismatch, "\(x.shape[2]) blocks do not fit image_shape \(image)")
    }
    let channels = x.shape[1] / area
    let target = [x.shape[0], channels] + image
    let (blockStrides, countStrides, strides) = (block.rowMajorStrides, counts.rowMajorStrides, target.rowMajorStrides)
    let places = try e.indices(x.shape) { position in
      var place = position[0] * strides[0] + position[1] / area * strides[1]
      for axis in image.indices {
        let tap = position[1] % area / blockStrides[axis] % block[axis]
        let at = position[2] / countStrides[axis] % counts[axis] * geometry.strides[axis] + tap * geometry.dilations[axis]
          - geometry.padsBegin[axis]
        if at < 0 || at >= image[axis] { return -1 }
        place += at * strides[axis + 2]
      }
      return place
    }
    return [try e.emit(ScatterAdd(into: target), x, places)]
  },
  OperatorEntry("MaxUnpool", versions: 9...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    guard let kernel = try call.ints("kernel_shape"), x.rank == kernel.count + 2 else {
      throw CetError(.shapeMismatch, "kernel_shape does not fit \(x.shape.shapeText)")
    }
    let window = try Window(call.attributes, spatial: Array(x.shape[2...]), kernel: kernel)
    let inner = kernel.indices.map {
      (x.shape[$0 + 2] - 1) * window.strides[$0] + kernel[$0] - window.padsBegin[$0] - window.padsEnd[$0]
    }
    let shape = Array(x.shape[..<2]) + inner
    guard shape.validatedCount != nil else { throw CetError(.shapeMismatch, "output shape \(shape) is not positive") }
    let y = try e.emit(ScatterAdd(into: shape), x, e.convert(call.input(1), to: .int64))
    guard call.has(2) else { return [y] }
    let wanted = try call.knownInts(2, "output_shape")
    if wanted == shape { return [y] }
    return [try e.emit(Embed(into: wanted, starts: wanted.map { _ in 0 }, steps: wanted.map { _ in 1 }), y)]
  },
  // θ·(x, y, 1) for the positions of an image whose sides are −1 and 1
  OperatorEntry("AffineGrid", versions: 20...newestOpset) { call in
    let (theta, e) = (try call.input(0), call.e)
    let size = try call.knownInts(1, "size")
    guard size.count >= 3, size.allSatisfy({ $0 > 0 }), size.validatedCount != nil, theta.shape == [size[0], size.count - 2, size.count - 1] else {
      throw CetError(.shapeMismatch, "theta \(theta.shape.shapeText) does not fit size \(size)")
    }
    let corners = try call.int("align_corners", 0) != 0
    let spatial = Array(size[2...])
    let count = spatial.reduce(1, &*)
    // The tensor, and the one of the wanted type.
    try e.reserve(.saturatingProduct(count, spatial.count + 1), width: 16, "the grid of \(count) positions")
    var position = [Int](repeating: 0, count: spatial.count)
    try e.spend(.saturatingProduct(count, 8 * (spatial.count + 1)))
    let rows = try Tensor(uninitialized: .float64, [1, count, spatial.count + 1])
    let target = rows.elements(as: Double.self)
    try e.context.pieces(count, eachOf: 8) { piece in
      var place = piece.lowerBound * (spatial.count + 1)
      for _ in piece {
        for axis in spatial.indices.reversed() {  // x comes first
          let (at, n) = (Double(position[axis]), Double(spatial[axis]))
          target[place] = corners ? (n > 1 ? 2 * at / (n - 1) - 1 : 0) : (2 * at + 1) / n - 1
          place += 1
        }
        target[place] = 1
        place += 1
        advance(&position, spatial)
      }
    }
    let grid = try e.convert(e.constant(rows), to: theta.element)
    return [try e.reshape(e.matrixProduct(grid, theta, transposeRight: true), [size[0]] + spatial + [spatial.count])]
  },
  OperatorEntry("GridSample", versions: 16...newestOpset) { call in try gridSample(call) },
  OperatorEntry("NonMaxSuppression", versions: 10...newestOpset, derivatives: .zero) { call in try nonMaxSuppression(call) },
]

/// Boxes in descending order of score, without those that overlap a kept one too much.
private func nonMaxSuppression(_ call: OperatorCall) throws -> [Value] {
  _ = try call.known(0, "boxes")
  let (boxes, scores) = (try call.knownDoubles(0, "boxes"), try call.knownDoubles(1, "scores"))
  let (boxShape, shape) = (try call.input(0).shape, try call.input(1).shape)
  guard boxShape.count == 3, shape.count == 3, boxShape[2] == 4, boxShape[0] == shape[0], boxShape[1] == shape[2] else {
    throw CetError(.shapeMismatch, "boxes \(boxShape.shapeText) and scores \(shape.shapeText)")
  }
  let limit = try call.has(2) ? call.knownInts(2, "max_output_boxes_per_class").first ?? 0 : 0
  let overlap = try call.has(3) ? call.knownScalar(3, "iou_threshold") : 0
  let threshold = try call.has(4) ? call.knownScalar(4, "score_threshold") : -Double.infinity
  let centred = try call.int("center_point_box", 0) != 0
  func corners(_ index: Int) -> (Double, Double, Double, Double) {
    let b = Array(boxes[(index * 4)..<(index * 4 + 4)])
    if centred { return (b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2, b[0] + b[2] / 2) }
    return (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
  }
  func intersectionOverUnion(_ a: Int, _ b: Int) -> Double {
    let (p, q) = (corners(a), corners(b))
    let common = max(0, min(p.2, q.2) - max(p.0, q.0)) * max(0, min(p.3, q.3) - max(p.1, q.1))
    let union = (p.2 - p.0) * (p.3 - p.1) + (q.2 - q.0) * (q.3 - q.1) - common
    return union > 0 ? common / union : 0
  }
  var picked: [Int64] = []
  for batch in 0..<shape[0] {
    for category in 0..<shape[1] {
      let start = (batch * shape[1] + category) * shape[2]
      try call.e.foresee(entries: shape[2], width: 24, work: 64, "an order of \(shape[2]) boxes")
      let order = (0..<shape[2]).filter { scores[start + $0] > threshold }
        .sorted { scores[start + $0] != scores[start + $1] ? scores[start + $0] > scores[start + $1] : $0 < $1 }
      var kept: [Int] = []
      for box in order where kept.count < limit {
        try call.e.spend(16 * kept.count)
        try call.e.context.interruption.check()
        let base = batch * shape[2]
        if kept.allSatisfy({ intersectionOverUnion(base + $0, base + box) <= overlap }) { kept.append(box) }
      }
      try call.e.reserve(.int64, [picked.count / 3 + kept.count, 3])
      for box in kept { picked += [Int64(batch), Int64(category), Int64(box)] }
    }
  }
  return [call.e.constant(try Tensor(picked, shape: [picked.count / 3, 3]))]
}
