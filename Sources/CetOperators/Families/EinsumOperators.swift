import CetGraph
import CetTensor

let einsumOperators: [OperatorEntry] = [
  OperatorEntry("Einsum", versions: 12...newestOpset) { call in
    let operands = try call.inputs.indices.map { try call.input($0) }
    return [try einsum(call.string("equation", ""), operands, call.e)]
  },
]

/// One axis name. Axes under an ellipsis are numbered from the last one.
private enum Label: Hashable {
  case letter(Character)
  case ellipsis(Int)
}

private struct Term {
  var value: Value
  var labels: [Label]
}

/// A product of tensors summed over the labels that the result does not name, two operands at a time.
func einsum(_ equation: String, _ operands: [Value], _ e: Emitter) throws -> Value {
  let sides = equation.filter { $0 != " " }.split(separator: ">", maxSplits: 1, omittingEmptySubsequences: false)
  let explicit = sides.count == 2
  let left = explicit ? sides[0].dropLast() : sides[0]
  let names = left.split(separator: ",", omittingEmptySubsequences: false)
  guard names.count == operands.count, !operands.isEmpty else {
    throw CetError(.invalidModel, "equation '\(equation)' names \(names.count) operands, there are \(operands.count)")
  }
  var terms = try zip(names, operands).map { try term(String($0), $1, e) }
  var sizes: [Label: Int] = [:]
  for term in terms {
    for (label, size) in zip(term.labels, term.value.shape) where sizes[label, default: 1] == 1 { sizes[label] = size }
  }
  let spread = terms.flatMap(\.labels).compactMap { if case .ellipsis(let k) = $0 { k } else { nil } }.max().map { $0 + 1 } ?? 0
  let result: [Label]
  if explicit {
    result = try labels(String(sides[1]), ellipsis: spread)
  } else {
    let letters = names.joined().filter { $0 != "." }
    let once = Set(letters).filter { letter in letters.count { $0 == letter } == 1 }.sorted()
    result = (0..<spread).reversed().map { .ellipsis($0) } + once.map { .letter($0) }
  }
  guard Set(result).count == result.count, result.allSatisfy({ sizes[$0] != nil }) else {
    throw CetError(.invalidModel, "equation '\(equation)' has a result that its operands do not give")
  }
  // A size-1 axis that another operand has larger is left out: the product repeats it.
  for index in terms.indices {
    let kept = terms[index].labels.indices.filter { axis in
      terms[index].value.shape[axis] != 1 || sizes[terms[index].labels[axis]] == 1
    }
    guard kept.allSatisfy({ terms[index].value.shape[$0] == sizes[terms[index].labels[$0]] }) else {
      throw CetError(.shapeMismatch, "equation '\(equation)' does not fit operand \(index) of shape \(operands[index].shape.shapeText)")
    }
    terms[index].value = try e.reshape(terms[index].value, kept.map { terms[index].value.shape[$0] })
    terms[index].labels = kept.map { terms[index].labels[$0] }
  }
  var accumulated = terms[0]
  for index in 1..<max(terms.count, 1) {
    let later = Set(terms[(index + 1)...].flatMap(\.labels)).union(result)
    accumulated = try product(accumulated, terms[index], keeping: later, e)
  }
  accumulated = try summed(accumulated, keeping: Set(result), e)
  let order = result.compactMap { accumulated.labels.firstIndex(of: $0) }
  return try e.transpose(accumulated.value, order)
}

private func labels(_ text: String, ellipsis count: Int) throws -> [Label] {
  var result: [Label] = []
  var dots = 0
  for character in text {
    if character == "." {
      dots += 1
      if dots == 1 { result += (0..<count).reversed().map { .ellipsis($0) } }
    } else if character.isLetter {
      result.append(.letter(character))
    } else {
      throw CetError(.invalidModel, "'\(character)' is not a label of an equation")
    }
  }
  guard dots == 0 || dots == 3 else { throw CetError(.invalidModel, "an ellipsis has three dots") }
  return result
}

/// An operand with its labels; axes of one label become their diagonal.
private func term(_ text: String, _ value: Value, _ e: Emitter) throws -> Term {
  let letters = text.count { $0 != "." }
  let all = try labels(text, ellipsis: max(0, value.rank - letters))
  guard all.count == value.rank else {
    throw CetError(.shapeMismatch, "'\(text)' does not fit shape \(value.shape.shapeText)")
  }
  let unique = all.enumerated().filter { all.firstIndex(of: $0.element) == $0.offset }.map(\.element)
  if unique.count == all.count { return Term(value: value, labels: all) }
  var sizes: [Label: Int] = [:]
  for (label, size) in zip(all, value.shape) {
    guard sizes[label, default: size] == size else {
      throw CetError(.shapeMismatch, "'\(text)' does not fit shape \(value.shape.shapeText)")
    }
    sizes[label] = size
  }
  let strides = value.shape.rowMajorStrides
  let places = try e.indices(unique.map { sizes[$0] ?? 0 }) { position in
    zip(all, strides).reduce(0) { $0 + (unique.firstIndex(of: $1.0).map { position[$0] } ?? 0) * $1.1 }
  }
  return Term(value: try e.emit(Take(), value, places), labels: unique)
}

private func summed(_ term: Term, keeping kept: Set<Label>, _ e: Emitter) throws -> Term {
  let axes = term.labels.indices.filter { !kept.contains(term.labels[$0]) }
  guard !axes.isEmpty else { return term }
  let rest = term.labels.indices.filter { kept.contains(term.labels[$0]) }
  let total = try e.sum(term.value, axes: axes)
  return Term(value: try e.reshape(total, rest.map { term.value.shape[$0] }), labels: rest.map { term.labels[$0] })
}

/// One batched matrix product: [shared, left, contracted]·[shared, contracted, right].
private func product(_ a: Term, _ b: Term, keeping later: Set<Label>, _ e: Emitter) throws -> Term {
  let a = try summed(a, keeping: later.union(b.labels), e)
  let b = try summed(b, keeping: later.union(a.labels), e)
  let shared = a.labels.filter { b.labels.contains($0) && later.contains($0) }
  let contracted = a.labels.filter { b.labels.contains($0) && !later.contains($0) }
  let left = a.labels.filter { !b.labels.contains($0) }
  let right = b.labels.filter { !a.labels.contains($0) }
  func arranged(_ term: Term, _ groups: [[Label]]) throws -> (Value, [[Int]]) {
    let order = groups.joined().compactMap { term.labels.firstIndex(of: $0) }
    let moved = try e.transpose(term.value, order)
    var start = 0
    let shapes = groups.map { group in
      defer { start += group.count }
      return Array(moved.shape[start..<(start + group.count)])
    }
    return (try e.reshape(moved, shapes.map { $0.reduce(1, *) }), shapes)
  }
  let (x, xShapes) = try arranged(a, [shared, left, contracted])
  let (y, yShapes) = try arranged(b, [shared, contracted, right])
  let z = try e.matrixProduct(x, y)
  return Term(value: try e.reshape(z, xShapes[0] + xShapes[1] + yShapes[2]), labels: shared + left + right)
}
