import CetEncode
import CetLayers
import CetMeasure
import CetQuantize
import CetTensor

extension LoadedModel {
  /// The activations of a plan, with the grids of those that it rounds.
  func rounded(_ plan: CompressionPlan) throws(CetError) -> RoundedActivations {
    guard !plan.activations.isEmpty else { return .none }
    try Activations.check(plan.activations.flatMap { [$0.name] + $0.copies }, in: found)
    let planned = plan.bits(of: found.layers)
    let all = plan.activations.map { activation in
      let values = Set([activation.name] + activation.copies)
      return Activation(
        name: activation.name, copies: activation.copies,
        layers: found.layers.indices.filter { planned[$0] != nil && found.layers[$0].usesStatistics && values.contains(found.layers[$0].input ?? "") })
    }
    let grids = plan.activations.compactMap { activation in activation.choice.map { (activation.name, $0.grid) } }
    return RoundedActivations(all, grids: Dictionary(grids, uniquingKeysWith: { first, _ in first }))
  }

  /// Those that the file rounds.
  func written(_ plan: CompressionPlan) throws(CetError) -> [WrittenActivation] {
    let rounded = try rounded(plan)
    return rounded.all.compactMap { activation in rounded.grids[activation.name].map { WrittenActivation(activation, $0) } }
  }
}

extension CompressionPlan {
  /// Layers, by index, whose weights the file holds as codes of 8 bits, because activations beside them are codes.
  func heldIntegers(of model: LoadedModel) throws(CetError) -> Set<Int> {
    guard !activations.isEmpty, options.encoding.holdsIntegers else { return [] }
    return Set(try model.written(self).integerLayers(model.found.layers).keys)
  }
}

extension Activations {
  /// As files have them that take the most bytes for the bits that are allowed.
  func largest(_ options: ActivationOptions, _ layers: [LinearLayer]) throws(CetError) -> [WrittenActivation] {
    var written: [WrittenActivation] = []
    for activation in all {
      let isInteger = activation.layers.contains { layers[$0].takesIntegers }
      let order = isInteger ? [16, 8, 4] : [4, 16, 8]
      guard let bits = order.first(where: options.bits.contains) else { continue }
      written.append(WrittenActivation(activation, try ActivationGrid(bits: bits, scale: 1, zeroPoint: 0)))
    }
    return written
  }

  /// What another plan's table says about them.
  func known(_ plan: CompressionPlan, _ options: PlanOptions) throws(CetError) -> [PlannedActivation] {
    let known = Dictionary(plan.activations.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    return try all.map { activation throws(CetError) in
      guard let found = known[activation.name] else {
        throw CetError(.invalidArgument, "the plan has no ranges of activation '\(activation.name)': plan from calibration data")
      }
      for bits in options.activations?.bits ?? [] where bits != PlannedTensor.keptBits && found.choices[bits] == nil {
        throw CetError(.invalidArgument, "the plan has no range of activation '\(activation.name)' at \(bits) bits: it was made without that choice")
      }
      return found
    }
  }

  /// Lines for people.
  func notes(_ planned: [PlannedActivation], _ found: LinearLayers) -> [String] {
    var notes: [String] = []
    func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
    let narrow = planned.count { $0.bits == 4 }
    if narrow > 0 {
      notes.append(
        "\(count(narrow, "activation")) of 4 bits \(narrow == 1 ? "is" : "are") simulated in float: no runtime has 4-bit integer kernels for \(narrow == 1 ? "it" : "these")")
    }
    if let first = left.first {
      notes.append(
        "\(count(left.count, "layer")) multipl\(left.count == 1 ? "ies" : "y") activations that stay float, because no edit of the graph can round them or codes make them already: the first is '\(found.layers[first].name)'")
    }
    return notes
  }
}
