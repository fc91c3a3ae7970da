import CetGraph
import CetLayers
import CetQuantize
import CetTensor
import Testing

@testable import CetMeasure

/// All patches of an input, in the order of the weight rows' entries, and their numbers.
private func patches(
  _ layer: LinearLayer, _ input: Tensor, group: Int? = 0, step: Int = 1, kept: [Int]? = nil
) throws -> (rows: [[Float]], numbers: [Int]) {
  let patches = try Patches(layer, layer.node, input: input, group: group, step: step, kept: kept)
  var rows: [[Float]] = []
  var all: [Int] = []
  try patches.forEach([input], ComputeContext()) { pointers, numbers in
    let width = group == nil ? layer.columns * layer.groups : layer.columns
    for row in numbers.indices {
      let made = (0..<width).map { pointers[0][row * width + $0] }
      var sorted = made
      if group != nil { for (from, to) in patches.order.enumerated() { sorted[to] = made[from] } }
      rows.append(sorted)
    }
    all += numbers
  }
  return (rows, all)
}

private func convolution(_ shape: Int..., attributes: [String: Attribute] = [:]) throws -> LinearLayer {
  let kernel = Initializer(name: "w", tensor: try Tensor(numbers(shape.elementCount, seed: 1), shape: shape))
  return try boundModel([Node("Conv", inputs: ["x", "w"], outputs: ["y"], attributes: attributes)], [kernel]).layers[0]
}

private func counted(_ shape: Int...) throws -> Tensor {
  try Tensor((1...shape.elementCount).map(Float.init), shape: shape)
}

@Suite struct PatchesTests {
  // MARK: Windows written out

  @Test func pads_areZeros_andStridesSkipPlaces() throws {
    let layer = try convolution(1, 1, 2, 2, attributes: ["pads": .ints([1, 0, 0, 1]), "strides": .ints([2, 2])])
    let found = try patches(layer, counted(1, 1, 3, 3))
    #expect(found.rows == [[0, 0, 1, 2], [0, 0, 3, 0], [4, 5, 7, 8], [6, 0, 9, 0]])
    #expect(found.numbers == [0, 1, 2, 3])
    #expect(try Patches.count(layer, layer.node, input: counted(1, 1, 3, 3)) == 4)
  }

  @Test func dilations_spreadTheTaps() throws {
    let layer = try convolution(1, 1, 2, 2, attributes: ["dilations": .ints([2, 1])])
    #expect(try patches(layer, counted(1, 1, 3, 3)).rows == [[1, 2, 7, 8], [2, 3, 8, 9]])
  }

  @Test func groups_readTheirChannels() throws {
    let layer = try convolution(2, 2, 1, 2, attributes: ["group": .int(2)])
    let x = try counted(1, 4, 1, 2)
    #expect(try patches(layer, x, group: 0).rows == [[1, 2, 3, 4]])
    #expect(try patches(layer, x, group: 1).rows == [[5, 6, 7, 8]])
  }

  @Test func depthwise_holdsAllGroupsSideBySide() throws {
    let layer = try convolution(2, 1, 1, 2, attributes: ["group": .int(2)])
    // Tap by tap, the channels as neighbours.
    #expect(try patches(layer, counted(1, 2, 1, 3), group: nil).rows == [[1, 4, 2, 5], [2, 5, 3, 6]])
  }

  // MARK: Windows by the formula

  @Test func convolution_everyOption_isTheFormula() throws {
    let attributes: [String: Attribute] = [
      "group": .int(2), "strides": .ints([2, 1]), "dilations": .ints([1, 2]), "pads": .ints([1, 2, 0, 1]),
    ]
    let layer = try convolution(4, 2, 3, 2, attributes: attributes)
    let x = try drawn(2, 4, 6, 5, seed: 3)
    // (6 + 1 + 0 − 3) / 2 + 1 rows and 5 + 2 + 1 − 3 + 1 columns.
    for group in 0..<2 {
      var expected: [[Float]] = []
      for sample in 0..<2 {
        for row in 0..<3 {
          for column in 0..<6 {
            var patch: [Float] = []
            for channel in (2 * group)..<(2 * group + 2) {
              for i in 0..<3 {
                for j in 0..<2 {
                  let (r, c) = (2 * row - 1 + i, column - 2 + 2 * j)
                  let isInside = (0..<6).contains(r) && (0..<5).contains(c)
                  patch.append(isInside ? x.floats[((sample * 4 + channel) * 6 + r) * 5 + c] : 0)
                }
              }
            }
            expected.append(patch)
          }
        }
      }
      let found = try patches(layer, x, group: group)
      #expect(found.rows == expected && found.numbers == Array(0..<36))
    }
  }

  /// What a row of the weight makes of a patch is what the operator computes there.
  @Test func transposedConvolution_patchesTimesWeights_areTheOutput() throws {
    let attributes: [String: Attribute] = ["strides": .ints([2, 2]), "pads": .ints([1, 0, 0, 1]), "dilations": .ints([1, 2])]
    let node = Node("ConvTranspose", inputs: ["x", "w"], outputs: ["y"], attributes: attributes)
    let bound = try boundModel([node], [weight("w", 3, 2, 3, 2, seed: 4)])
    let (layer, x) = (bound.layers[0], try drawn(2, 3, 3, 4, seed: 5))
    let data = try batch(["x": x])
    let y = try bound.programs.forward(data, outputs: ["y"]).run(data, weights: bound.weights)[0].rowMajor()
    let matrix = try WeightView(name: "w", shape: layer.shape, axis: layer.axis, bound.weightValues(layer)).matrix
    let found = try patches(layer, x)
    let area = y.shape[2] * y.shape[3]
    #expect(found.rows.count == 2 * area)
    for (number, patch) in found.rows.enumerated() {
      for channel in 0..<2 {
        let sum = patch.indices.reduce(0) { $0 + Double(patch[$1]) * Double(matrix.values[channel * layer.columns + $1]) }
        let expected = Double(y.floats[(number / area * 2 + channel) * area + number % area])
        #expect(abs(sum - expected) < 1e-5)
      }
    }
  }

  @Test func step_takesOtherPlacesInEverySample() throws {
    let found = try patches(convolution(1, 1, 1, 1), counted(2, 1, 1, 6), step: 2)
    // The second sample starts 7919 mod 2 places later.
    #expect(found.numbers == [0, 2, 4, 7, 9, 11])
    #expect(found.rows.flatMap { $0 } == [1, 3, 5, 8, 10, 12])
  }

  // MARK: Matrices

  @Test func rows_thatCount_areTakenBeforeTheStep() throws {
    let layer = try boundModel([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 2, 3, seed: 1)]).layers[0]
    let x = try counted(1, 5, 2)
    #expect(try patches(layer, x).rows == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]])
    let found = try patches(layer, x, step: 2, kept: [0, 1, 4])
    #expect(found.rows == [[1, 2], [9, 10]] && found.numbers == [0, 4])
  }

  @Test func leftMatrix_patchesAreColumns() throws {
    let layer = try boundModel([Node("MatMul", inputs: ["w", "x"], outputs: ["y"])], [weight("w", 3, 2, seed: 1)]).layers[0]
    #expect(try patches(layer, counted(1, 2, 3)).rows == [[1, 4], [2, 5], [3, 6]])
  }

  @Test func inputOfAnotherWidth_isRefused() throws {
    let layer = try boundModel([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 2, 3, seed: 1)]).layers[0]
    #expect(throws: CetError.self) { try patches(layer, counted(1, 2, 3)) }
  }
}
