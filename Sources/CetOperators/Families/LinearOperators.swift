import CetGraph
import CetTensor

let linearOperators: [OperatorEntry] = [
  OperatorEntry("MatMul") { call in [try matMul(call.input(0), call.input(1), call.e)] },
  OperatorEntry("Gemm") { call in
    let e = call.e
    // Y = α·op(A)·op(B) + β·C
    var y = try e.matrixProduct(
      call.input(0), call.input(1), transposeLeft: call.int("transA", 0) != 0, transposeRight: call.int("transB", 0) != 0)
    y = try e.scale(y, by: call.float("alpha", 1))
    if let c = call.optional(2) { y = try e.add(y, e.scale(c, by: call.float("beta", 1))) }
    return [y]
  },
  OperatorEntry("Conv") { call in
    let (x, w) = (try call.input(0), try call.input(1))
    let geometry = try convolutionGeometry(call.node, input: x.shape, weight: w.shape)
    let bias = call.optional(2).map { [$0] } ?? []
    return try call.e.emit(Convolve(.forward, geometry), [x, w] + bias)
  },
  // A causal depthwise convolution behind the last k − 1 inputs of the past.
  OperatorEntry("CausalConvWithState", versions: 27...newestOpset) { call in
    let (x, w, e) = (try call.input(0), try call.input(1), call.e)
    guard x.rank == 3, w.rank == 3, w.shape[2] > 0 else { throw CetError(.shapeMismatch, "input \(x.shape.shapeText), weight \(w.shape.shapeText)") }
    let past = try call.optional(3) ?? e.zeros(TensorType(x.element, [x.shape[0], x.shape[1], w.shape[2] - 1]))
    let padded = try e.emit(Concatenate(axis: 2), [past, x])[0]
    let geometry = try ConvolutionGeometry(input: padded.shape, weight: w.shape, groups: x.shape[1])
    var y = try e.emit(Convolve(.forward, geometry), [padded, w] + (call.optional(2).map { [$0] } ?? []))[0]
    switch try call.string("activation", "none") {
    case "none": break
    case "silu", "swish": y = try e.multiply(y, e.unary(.sigmoid, y))
    case let other: throw CetError(.unsupportedOperator, "activation '\(other)'")
    }
    return [y, try e.slice(padded, axis: 2, from: padded.shape[2] - (w.shape[2] - 1), count: w.shape[2] - 1)]
  },
  OperatorEntry("ConvTranspose") { call in
    let (x, w, e) = (try call.input(0), try call.input(1), call.e)
    let geometry = try transposedConvolutionGeometry(call.node, input: x.shape, weight: w.shape)
    var y = try e.emit(Convolve(.inputGradient, geometry), x, w)
    if let bias = call.optional(2) {
      y = try e.add(y, e.reshape(bias, [1, bias.shape.elementCount] + geometry.kernel.map { _ in 1 }))
    }
    return [y]
  },
]

/// NumPy matmul: vectors get a temporary axis; a plain matrix on the right sees all leading axes as rows, so
/// that its gradient is one product.
func matMul(_ a: Value, _ b: Value, _ e: Emitter) throws -> Value {
  if a.rank == 1 && b.rank == 1 {
    return try e.reshape(e.matrixProduct(e.reshape(a, [1, a.shape[0]]), e.reshape(b, [b.shape[0], 1])), [])
  }
  if a.rank == 1 {
    let y = try matMul(e.reshape(a, [1, a.shape[0]]), b, e)
    return try e.reshape(y, Array(y.shape.dropLast(2)) + [y.shape[y.rank - 1]])
  }
  if b.rank == 1 {
    let y = try matMul(a, e.reshape(b, [b.shape[0], 1]), e)
    return try e.reshape(y, Array(y.shape.dropLast()))
  }
  guard a.rank > 2, b.rank == 2 else { return try e.matrixProduct(a, b) }
  let rows = a.shape.dropLast().reduce(1, *)
  let y = try e.matrixProduct(e.reshape(a, [rows, a.shape[a.rank - 1]]), b)
  return try e.reshape(y, Array(a.shape.dropLast()) + [y.shape[1]])
}

/// The window attributes that convolution and pooling share, with auto_pad resolved.
struct Window {
  var strides: [Int]
  var dilations: [Int]
  var padsBegin: [Int]
  var padsEnd: [Int]

  init(_ call: NodeAttributes, spatial: [Int], kernel: [Int]) throws(CetError) {
    let rank = spatial.count
    let ones = [Int](repeating: 1, count: rank)
    strides = try call.ints("strides") ?? ones
    dilations = try call.ints("dilations") ?? ones
    let pads = try call.ints("pads") ?? [Int](repeating: 0, count: 2 * rank)
    guard kernel.count == rank, strides.count == rank, dilations.count == rank, pads.count == 2 * rank,
      (strides + dilations + kernel).allSatisfy({ $0 > 0 && $0 < 1 << 24 }), pads.allSatisfy({ $0.magnitude < 1 << 31 })
    else { throw CetError(.shapeMismatch, "kernel, strides, dilations and pads do not fit \(rank) spatial axes") }
    padsBegin = Array(pads[..<rank])
    padsEnd = Array(pads[rank...])
    let mode = try call.string("auto_pad", "NOTSET")
    if mode == "VALID" { (padsBegin, padsEnd) = (ones.map { _ in 0 }, ones.map { _ in 0 }) }
    if mode.hasPrefix("SAME") {
      for axis in 0..<rank {
        let outputs = (spatial[axis] + strides[axis] - 1) / strides[axis]
        let total = max(0, (outputs - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1 - spatial[axis])
        padsBegin[axis] = mode == "SAME_LOWER" ? total - total / 2 : total / 2
        padsEnd[axis] = total - padsBegin[axis]
      }
    }
  }
}

/// The sizes of a Conv node for given operand shapes.
public func convolutionGeometry(_ node: Node, input: [Int], weight: [Int]) throws(CetError) -> ConvolutionGeometry {
  guard input.count >= 3, weight.count == input.count else {
    throw CetError(.shapeMismatch, "input \(input.shapeText) and weight \(weight.shapeText) do not fit")
  }
  let attributes = NodeAttributes(node)
  let kernel = Array(weight[2...])
  if let named = try attributes.ints("kernel_shape"), named != kernel {
    throw CetError(.shapeMismatch, "kernel_shape \(named) differs from the weight's \(kernel)")
  }
  let window = try Window(attributes, spatial: Array(input[2...]), kernel: kernel)
  return try ConvolutionGeometry(
    input: input, weight: weight, strides: window.strides, dilations: window.dilations,
    pads: window.padsBegin + window.padsEnd, groups: attributes.int("group") ?? 1)
}

/// The convolution whose input gradient a ConvTranspose node is.
public func transposedConvolutionGeometry(_ node: Node, input: [Int], weight: [Int]) throws(CetError) -> ConvolutionGeometry {
  let attributes = NodeAttributes(node)
  guard input.count >= 3, weight.count == input.count else {
    throw CetError(.shapeMismatch, "input \(input.shapeText) and weight \(weight.shapeText) do not fit")
  }
  // The weight [C, M/g, k...] is the weight of the convolution whose input gradient this operator is:
  // that convolution takes M channels to C channels.
  let groups = try attributes.int("group") ?? 1
  let spatial = input.count - 2
  let kernel = try attributes.ints("kernel_shape") ?? Array(weight[2...])
  let strides = try attributes.ints("strides") ?? [Int](repeating: 1, count: spatial)
  let dilations = try attributes.ints("dilations") ?? [Int](repeating: 1, count: spatial)
  let extra = try attributes.ints("output_padding") ?? [Int](repeating: 0, count: spatial)
  let sizes = kernel + strides + dilations + extra + (try attributes.ints("pads") ?? []) + [groups]
  guard kernel.count == spatial, strides.count == spatial, dilations.count == spatial, extra.count == spatial,
    sizes.allSatisfy({ $0 >= 0 && $0 < 1 << 24 })
  else {
    throw CetError(.shapeMismatch, "attributes do not have \(spatial) spatial axes")
  }
  let full: [Int] = (0..<spatial).map { axis in
    let span = (kernel[axis] - 1) * dilations[axis] + 1
    return (input[axis + 2] - 1) * strides[axis] + extra[axis] + span
  }
  var (begin, end) = ([Int](repeating: 0, count: spatial), [Int](repeating: 0, count: spatial))
  let autoPad = try attributes.string("auto_pad", "NOTSET")
  var output = full
  if let wanted = try attributes.ints("output_shape") {
    output = Array(wanted.suffix(spatial))
    guard output.count == spatial, output.allSatisfy({ $0 < 1 << 31 }) else {
      throw CetError(.shapeMismatch, "output_shape \(wanted) does not fit \(spatial) spatial axes")
    }
  } else if autoPad.hasPrefix("SAME") {
    output = (0..<spatial).map { input[$0 + 2] * strides[$0] }
  } else if let pads = try attributes.ints("pads"), pads.count == 2 * spatial, autoPad == "NOTSET" {
    (begin, end) = (Array(pads[..<spatial]), Array(pads[spatial...]))
    output = (0..<spatial).map { full[$0] - begin[$0] - end[$0] }
  }
  if output != full && begin == end && begin.allSatisfy({ $0 == 0 }) {
    for axis in 0..<spatial {
      let total = max(0, full[axis] - output[axis])
      begin[axis] = autoPad == "SAME_UPPER" ? total / 2 : total - total / 2
      end[axis] = total - begin[axis]
    }
  }
  guard output.count == spatial, output.allSatisfy({ $0 > 0 }) else {
    throw CetError(.shapeMismatch, "output shape \(output) is not positive")
  }
  return try ConvolutionGeometry(
    input: [input[0], weight[1] * groups] + output, weight: weight, strides: strides, dilations: dilations,
    pads: begin + end, groups: groups)
}
