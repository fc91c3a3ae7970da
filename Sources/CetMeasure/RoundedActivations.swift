import CetLayers
import CetQuantize

/// The activations of a model and the grids that quantizing rounds them to.
public struct RoundedActivations: Sendable, Equatable {
  public let all: [Activation]
  /// By name of the activation; those without one stay float.
  public let grids: [String: ActivationGrid]

  public static let none = RoundedActivations([], grids: [:])

  public init(_ all: [Activation], grids: [String: ActivationGrid]) {
    self.all = all
    self.grids = grids
  }

  /// Values of the graph with the name that their grid is fed under.
  public var gridNames: [String: String] {
    Dictionary(all.flatMap { activation in activation.values.map { ($0, activation.name) } }, uniquingKeysWith: { first, _ in first })
  }

  /// Scales of the inputs of layers whose weights are codes of 8 bits in the written file, by index. A runtime that finds codes on
  /// both sides of float weights makes such codes of them itself, in its own way.
  public func inputScales(_ layers: [LinearLayer]) -> [Int: Float] {
    var scales: [Int: Float] = [:]
    for activation in all {
      guard let grid = grids[activation.name] else { continue }
      for index in activation.integerLayers(layers, bits: grid.bits) { scales[index] = grid.scale }
    }
    return scales
  }
}
