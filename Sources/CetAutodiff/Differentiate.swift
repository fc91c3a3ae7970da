import CetOperators
import CetTensor

/// Derivatives of programs by emission: both passes append steps to the same program.
public enum Differentiate {
  /// Forward mode. Tangents of `targets` when each key of `directions` moves along its value; nil where the
  /// tangent is zero.
  public static func tangents(
    of targets: [Value], along directions: [Value: Value], _ e: Emitter
  ) throws(CetError) -> [Value?] {
    let program = e.program
    let depends = program.dependents(of: Array(directions.keys))
    var tangent: [Int: Value] = [:]
    for (value, direction) in directions { tangent[value.id] = direction }
    let roots = Set(tangent.keys)
    for index in program.steps(for: targets) {
      let step = program.steps[index]
      guard step.outputs.contains(where: { depends[$0] && !roots.contains($0) }) else { continue }
      let inputs = step.inputs.map { tangent[$0] }
      guard inputs.contains(where: { $0 != nil }) else { continue }
      let results = try rule(step, e) { () throws(CetError) in try step.primitive.jvp(call(step, program), tangents: inputs, e) }
      for (output, result) in zip(step.outputs, results) where !roots.contains(output) {
        tangent[output] = result
      }
    }
    return targets.map { tangent[$0.id] }
  }

  /// Reverse mode. Cotangents of `sources` for the cotangents `seeds` of later values; nil where zero.
  public static func cotangents(
    of sources: [Value], seeds: [Value: Value], _ e: Emitter
  ) throws(CetError) -> [Value?] {
    let program = e.program
    let depends = program.dependents(of: sources)
    let roots = Set(sources.map(\.id))
    var cotangent: [Int: Value] = [:]
    for (value, seed) in seeds { cotangent[value.id] = seed }
    for index in program.steps(for: Array(seeds.keys)).reversed() {
      let step = program.steps[index]
      let outputs = step.outputs.map { cotangent[$0] }
      guard outputs.contains(where: { $0 != nil }) else { continue }
      let wanted = step.inputs.map { depends[$0] }
      guard wanted.contains(true) else { continue }
      let results = try rule(step, e) { () throws(CetError) in
        try step.primitive.vjp(call(step, program), cotangents: outputs, wanted: wanted, e)
      }
      for (slot, input) in step.inputs.enumerated() where wanted[slot] {
        cotangent[input] = try e.sum(cotangent[input], slot < results.count ? results[slot] : nil)
      }
      // An inner value has given all it had; a source keeps its sum.
      for output in step.outputs where !roots.contains(output) { cotangent[output] = nil }
    }
    return sources.map { cotangent[$0.id] }
  }

  private static func call(_ step: Step, _ program: Program) -> Call {
    Call(inputs: step.inputs.map { program.values[$0] }, outputs: step.outputs.map { program.values[$0] })
  }

  private static func rule<Result>(_ step: Step, _ e: Emitter, _ body: () throws(CetError) -> Result) throws(CetError) -> Result {
    let before = e.origin
    e.origin = step.origin
    defer { e.origin = before }
    do {
      return try body()
    } catch {
      throw error.at(.node(step.origin, "(derivative of \(step.primitive.name))"))
    }
  }
}
