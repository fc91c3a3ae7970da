import CetGraph
import CetTensor

let lossOperators: [OperatorEntry] = [
  OperatorEntry("NegativeLogLikelihoodLoss", versions: 12...newestOpset) { call in
    [try negativeLogLikelihood(call, call.input(0))]
  },
  // −w[t]·log softmax(x)[t]
  OperatorEntry("SoftmaxCrossEntropyLoss", versions: 12...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    guard x.rank >= 2 else { throw CetError(.shapeMismatch, "scores \(x.shape.shapeText) have no class axis") }
    var swap = Array(0..<x.rank)
    swap.swapAt(1, x.rank - 1)
    let log = try e.transpose(e.emit(Softmax(logarithmic: true), e.transpose(x, swap)), swap)
    return [try negativeLogLikelihood(call, log), log]
  },
]

/// ℓ = −w[t]·x[t] per target, 0 where the target is ignored; the mean is over the weights.
private func negativeLogLikelihood(_ call: OperatorCall, _ x: Value) throws -> Value {
  let e = call.e
  var target = try e.convert(call.input(1), to: .int64)
  guard x.rank >= 2, target.shape == [x.shape[0]] + x.shape[2...] else {
    throw CetError(.shapeMismatch, "targets \(target.shape.shapeText) do not fit \(x.shape.shapeText)")
  }
  let ignored = try call.int("ignore_index")
  target = try e.emit(ClassIndices(count: x.shape[1], ignored: ignored), target)
  let classes = [1, x.shape[1]] + [Int](repeating: 1, count: x.rank - 2)
  let column = try e.reshape(target, [x.shape[0], 1] + x.shape[2...])
  var hits = try e.compare(.equal, column, e.reshape(e.ramp(x.shape[1]), classes))
  if let ignored {
    hits = try e.emit(Bitwise(.and), hits, e.not(e.compare(.equal, column, e.scalar(Double(ignored), .int64))))
  }
  let weight = try call.optional(2).map { try e.reshape($0, classes) } ?? e.scalar(1, x.element)
  let perTarget = try e.sum(e.mask(hits, e.multiply(x, weight)), axes: [1])
  let loss = try e.negate(e.reshape(perTarget, target.shape))
  let all = Array(0..<target.rank)
  switch try call.string("reduction", "mean") {
  case "none": return loss
  case "sum": return try e.reshape(e.sum(loss, axes: all), [])
  case "mean":
    let weights = try e.sum(e.mask(hits, e.expand(weight, x.shape)), axes: Array(0..<x.rank))
    return try e.divide(e.reshape(e.sum(loss, axes: all), []), e.reshape(weights, []))
  case let other: throw CetError(.invalidModel, "reduction '\(other)'")
  }
}
