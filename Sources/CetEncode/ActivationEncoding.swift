import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// An activation as a file has it.
public struct WrittenActivation: Sendable {
  let activation: Activation
  let grid: ActivationGrid

  public init(_ activation: Activation, _ grid: ActivationGrid) {
    self.activation = activation
    self.grid = grid
  }
}

extension [WrittenActivation] {
  /// The operator set that their nodes need, into which weights are then written as well; nil: any.
  var neededOpset: Int? { isEmpty ? nil : contains { $0.grid.bits > 8 } ? 21 : 13 }

  /// By index the layers that kernels of integers compute, with what each multiplies.
  public func integerLayers(_ layers: [LinearLayer]) -> [Int: WrittenActivation] {
    var found: [Int: WrittenActivation] = [:]
    for written in self {
      for index in written.activation.integerLayers(layers, bits: written.grid.bits) { found[index] = written }
    }
    return found
  }
}

/// Writes activations as QuantizeLinear and DequantizeLinear behind what makes them, and layers that are computed with integers so
/// that runtimes see it:
///
///     x        DequantizeLinear(QuantizeLinear(what made x, scale, zero point))
///     weights  DequantizeLinear(QuantizeLinear(w, scales, 0)) of int8, w as the encoding of weights makes it
///     bias     DequantizeLinear(Cast(Round(b / s)), s) of int32, s = scale of x · scales of the weights
///
/// All of a weight and a bias up to the codes is constant. Runtimes fold it when they load the file, leave the DequantizeLinear
/// behind, and take it with those of x into one kernel. Where the encoding holds integers the codes stand in the file themselves, for
/// runtimes that look for them there.
///
/// Codes of 4 bits are those of 8 of which only 16 are used: Max and Min cut what is outside.
///
/// Between codes onnxruntime makes codes of float weights by itself, one scale for all of a tensor. Where a weight stays float, as one
/// that is kept or that two layers share, a Min behind the layer keeps it off, which cuts what the codes cut.
struct ActivationEncoding {
  private(set) var initializers: [Initializer] = []
  /// Constant ones.
  private(set) var nodes: [Node] = []
  private(set) var minimumOpset: Int?
  private(set) var minimumIRVersion: Int64?
  private var names: NameScope
  private let index: GraphIndex
  /// What layers with a constant weight that stays float make, and a Relu or Clip behind them.
  private let madeWithFloatWeights: Set<String>
  private var counter = 0
  /// Zero points of weights, by shape.
  private var centers: [[Int]: String] = [:]

  /// - Parameter integerNodes: first outputs of the nodes whose weights are written as codes of 8 bits.
  init(_ found: LinearLayers, names: NameScope, integerNodes: Set<String>) {
    self.names = names
    index = found.index
    var made: Set<String> = []
    for node in found.index.nodes {
      switch node.operatorType {
      case "Relu", "Clip": if made.contains(node.input(0)) { made.insert(node.firstOutput) }
      case "Conv", "ConvTranspose", "Gemm", "MatMul":
        if !integerNodes.contains(node.firstOutput), !found.index.isFed(node.input(1)) { made.insert(node.firstOutput) }
      default: break
      }
    }
    madeWithFloatWeights = made
  }

  /// Names are short: in a small file they are a part of its size that shows.
  private mutating func fresh() -> String {
    counter += 1
    return names.takeValue("cet.a\(counter)")
  }

  private mutating func add(_ tensor: Tensor) -> String {
    let name = fresh()
    initializers.append(Initializer(name: name, tensor: tensor))
    return name
  }

  // MARK: Activations

  /// Names of scale and zero point, by activation.
  private var grids: [String: (scale: String, zero: String, low: String, high: String)] = [:]

  /// Puts nodes behind what makes the values of an activation.
  mutating func add(_ written: WrittenActivation, to edit: inout ModelEdit) throws(CetError) {
    let (name, grid) = (written.activation.name, written.grid)
    let isWide = grid.bits > 8
    minimumOpset = [minimumOpset, [written].neededOpset].compactMap { $0 }.max()
    if isWide { minimumIRVersion = 10 }
    let scale = add(try Tensor(scalar: grid.scale))
    let zero = add(try isWide ? Tensor([UInt16(grid.zeroPoint)], shape: []) : Tensor(scalar: UInt8(grid.zeroPoint)))
    var cut = (low: "", high: "")
    if grid.bits < 8 {
      cut = (add(try Tensor(scalar: grid.low)), add(try Tensor(scalar: grid.high)))
    }
    if cut.high.isEmpty, written.activation.values.contains(where: madeWithFloatWeights.contains) { cut.high = add(try Tensor(scalar: grid.high)) }
    grids[name] = (scale, zero, cut.low, cut.high)
    for value in written.activation.values { round(value, like: name, in: &edit) }
  }

  private mutating func round(_ value: String, like activation: String, in edit: inout ModelEdit) {
    guard let grid = grids[activation] else { return }
    func nodes(_ from: String, _ to: String) -> [Node] {
      var (nodes, source) = ([Node](), from)
      for (type, bound) in [("Max", grid.low), ("Min", grid.high)] where !bound.isEmpty {
        let cut = fresh()
        nodes.append(Node(type, inputs: [source, bound], outputs: [cut]))
        source = cut
      }
      let codes = fresh()
      return nodes + [
        Node("QuantizeLinear", inputs: [source, grid.scale, grid.zero], outputs: [codes]),
        Node("DequantizeLinear", inputs: [codes, grid.scale, grid.zero], outputs: [to]),
      ]
    }
    guard let producer = index.producer(of: value) else {
      // An input of the model keeps its name: what reads it reads the rounded value, which stands before the first reader.
      let rounded = fresh()
      var made = nodes(value, rounded)
      for place in Set(index.readers(of: value)).sorted() {
        let key = index.nodes[place].firstOutput
        edit.replacedNodes[key] = made + (edit.replacedNodes[key] ?? [index.nodes[place]]).map { node in
          var node = node
          node.inputs = node.inputs.map { $0 == value ? rounded : $0 }
          return node
        }
        made = []
      }
      return
    }
    let (key, exact) = (index.nodes[producer].firstOutput, fresh())
    let made = nodes(exact, value)
    edit.replacedNodes[key] = (edit.replacedNodes[key] ?? [index.nodes[producer]]).flatMap { node in
      guard node.outputs.contains(value) else { return [node] }
      var node = node
      node.outputs = node.outputs.map { $0 == value ? exact : $0 }
      return [node] + made
    }
  }

  // MARK: Layers

  /// What is added to the product of a layer.
  struct Bias {
    let name: String
    let values: [Float]
    let rank: Int
    /// Whether constant nodes can read it.
    let isInitializer: Bool
    var shape: [Int] { [Int](repeating: 1, count: max(0, rank - 1)) + [values.count] }
  }

  /// Makes the nodes that read a weight and its bias read codes of 8 and 32 bits. A bias behind a matrix product is one as well:
  /// runtimes put the two together before they look for codes.
  /// - Parameters:
  ///   - activation: that the layer multiplies, added before.
  ///   - bias: the initializer that is added to the product, and its values; nil: none.
  ///   - holdsCodes: whether the codes stand in the file; the weight's initializer is gone then.
  mutating func add(
    _ layer: LinearLayer, _ content: LayerContent, activation: WrittenActivation, bias: Bias?, holdsCodes: Bool,
    to edit: inout ModelEdit
  ) throws(CetError) {
    guard let inputScale = grids[activation.activation.name]?.scale else { return }
    let form = content.form
    let rows = form.order.rows
    let shape = form.axis == nil ? [] : [rows]
    let integers = content.tensor.map { IntegerWeights($0, bias: bias?.values, inputScale: activation.grid.scale) }
    let axis = form.axis.map { ["axis": Attribute.int(Int64($0))] } ?? [:]
    let scale = add(try Tensor(integers?.scales ?? [Float](repeating: 1, count: rows), shape: shape))
    let zero: String
    if let known = centers[shape] {
      zero = known
    } else {
      zero = add(try Tensor([Int8](repeating: 0, count: rows), shape: shape))
      centers[shape] = zero
    }
    let (codes, weight): (String, String)
    if holdsCodes {
      // The weight's name is that of its values, as it was.
      (codes, weight) = (try add(codesOf: content, integers, shape: layer.shape), layer.name)
    } else {
      (codes, weight) = (fresh(), fresh())
      nodes.append(Node("QuantizeLinear", inputs: [layer.name, scale, zero], outputs: [codes], attributes: axis))
    }
    nodes.append(Node("DequantizeLinear", inputs: [codes, scale, zero], outputs: [weight], attributes: axis))
    var summand: String?
    if let bias {
      let summed = fresh()
      let (codes, step) = holdsCodes
        ? try add(codesOf: bias, integers, activation.grid, hasAxis: form.axis != nil) : try fold(bias, scale, inputScale)
      nodes.append(
        Node(
          "DequantizeLinear", inputs: [codes, step], outputs: [summed],
          attributes: form.axis == nil ? [:] : ["axis": .int(Int64(bias.shape.count - 1))]))
      if holdsCodes {
        edit.initializers.removeAll { $0.name == bias.name }
        if bias.isInitializer { edit.removedInitializers.insert(bias.name) }
      }
      summand = summed
    }
    let readers = [layer.node] + (bias.map { index.readers(of: $0.name).map { index.nodes[$0] } } ?? [])
    var seen: Set<String> = []
    for reader in readers where seen.insert(reader.firstOutput).inserted {
      edit.replacedNodes[reader.firstOutput] = (edit.replacedNodes[reader.firstOutput] ?? [reader]).map { node in
        var node = node
        node.inputs = node.inputs.map { $0 == layer.name ? weight : $0 == bias?.name ? summand ?? $0 : $0 }
        return node
      }
    }
  }

  /// The codes of a weight; of no values where only the size counts.
  private mutating func add(codesOf content: LayerContent, _ integers: IntegerWeights?, shape: [Int]) throws(CetError) -> String {
    guard let tensor = content.tensor, let integers else { return add(try Tensor(uninitialized: .int8, shape)) }
    return add(try Tensor(integers.codes(tensor.dequantized(), tensor.order), shape: shape))
  }

  /// The codes of a bias, and what they count in.
  private mutating func add(
    codesOf bias: Bias, _ integers: IntegerWeights?, _ grid: ActivationGrid, hasAxis: Bool
  ) throws(CetError) -> (codes: String, step: String) {
    let count = bias.values.count
    let codes = integers?.codes(bias: bias.values, inputScale: grid.scale) ?? [Int32](repeating: 0, count: count)
    let steps = integers?.biasScales(count, inputScale: grid.scale) ?? [Float](repeating: 1, count: count)
    return (
      add(try Tensor(codes, shape: bias.shape)),
      add(try hasAxis ? Tensor(steps, shape: [count]) : Tensor(scalar: steps.first ?? 1))
    )
  }

  /// Nodes that make codes of a bias when a file is loaded, and what these count in.
  private mutating func fold(_ bias: Bias, _ scale: String, _ inputScale: String) throws(CetError) -> (codes: String, step: String) {
    let exact = try bias.isInitializer ? bias.name : add(Tensor(bias.values, shape: bias.shape))
    let (step, ratio, whole, codes) = (fresh(), fresh(), fresh(), fresh())
    nodes += [
      Node("Mul", inputs: [scale, inputScale], outputs: [step]),
      Node("Div", inputs: [exact, step], outputs: [ratio]),
      Node("Round", inputs: [ratio], outputs: [whole]),
      Node("Cast", inputs: [whole], outputs: [codes], attributes: ["to": .int(Int64(ElementType.int32.rawValue))]),
    ]
    return (codes, step)
  }
}
