import CetAutodiff
import CetGraph
import CetTensor
import Testing

@testable import Cet

@Suite struct ImageShiftsTests {
  private static func graph(_ nodes: [Node], inputs: [String] = ["x"]) -> Graph {
    Graph(
      nodes: nodes, inputs: inputs.map { ValueInfo(name: $0, type: .float32, shape: nil) },
      outputs: [ValueInfo(name: "y", type: .float32, shape: nil)])
  }

  private static let convolution = Node("Conv", inputs: ["x", "w"], outputs: ["y"])

  /// Every sample of a copy is that sample at one of the allowed offsets, its border repeated; `at` reads an element.
  private static func offsets(
    _ copy: Tensor, of tensor: Tensor, rows: Int, columns: Int, channels: Int, most: (Int, Int),
    at: (Tensor, _ sample: Int, _ channel: Int, _ row: Int, _ column: Int) -> Float
  ) -> [(Int, Int)] {
    (0..<tensor.shape[0]).compactMap { sample in
      for down in -most.0...most.0 {
        for right in -most.1...most.1 {
          let isThat = (0..<channels).allSatisfy { channel in
            (0..<rows).allSatisfy { row in
              (0..<columns).allSatisfy { column in
                at(copy, sample, channel, row, column)
                  == at(
                    tensor, sample, channel, min(max(row - down, 0), rows - 1), min(max(column - right, 0), columns - 1))
              }
            }
          }
          if isThat { return (down, right) }
        }
      }
      return nil
    }
  }

  @Test func channelsFirst_isMovedWithItsBorderRepeated() throws {
    var random = Random(seed: 3)
    let (samples, channels, rows, columns) = (12, 2, 33, 48)
    let x = try Tensor((0..<(samples * channels * rows * columns)).map { _ in Float(random.normal()) }, shape: [samples, channels, rows, columns])
    let shifts = ImageShifts(Self.graph([Self.convolution]), asked: 2, sampleCount: samples)
    let copies = try shifts.shifted(Batch(inputs: ["x": x], labels: nil, sampleCount: samples), seed: 1)
    #expect(copies.count == 2)
    var found: Set<[Int]> = []
    for copy in copies {
      let moved = try #require(copy.inputs["x"])
      let offsets = Self.offsets(moved, of: x, rows: rows, columns: columns, channels: channels, most: (2, 3)) {
        $0.floats[(($1 * channels + $2) * rows + $3) * columns + $4]
      }
      #expect(offsets.count == samples)
      found.formUnion(offsets.map { [$0.0, $0.1] })
    }
    // 24 moves among 35: all the same would be no moves.
    #expect(found.count > 8)
    #expect(found.contains { abs($0[1]) == 3 })
  }

  @Test func channelsLastBytes_behindATransposition_areMoved() throws {
    var random = Random(seed: 4)
    let (samples, rows, columns) = (3, 16, 17)
    let x = try Tensor((0..<(samples * rows * columns * 3)).map { _ in UInt8(truncatingIfNeeded: random.next()) }, shape: [samples, rows, columns, 3])
    let graph = Self.graph([
      Node("Cast", inputs: ["x"], outputs: ["f"], attributes: ["to": .int(1)]),
      Node("Sub", inputs: ["f", "m"], outputs: ["c"]),
      Node("Transpose", inputs: ["c"], outputs: ["t"], attributes: ["perm": .ints([0, 3, 1, 2])]),
      Node("Conv", inputs: ["t", "w"], outputs: ["y"]),
    ])
    let shifts = ImageShifts(graph, asked: 3, sampleCount: samples)
    let batch = try Batch(inputs: ["x": x], labels: nil, sampleCount: samples)
    let copies = try shifts.shifted(batch, seed: 9)
    for copy in copies {
      let offsets = Self.offsets(try #require(copy.inputs["x"]), of: x, rows: rows, columns: columns, channels: 3, most: (1, 1)) {
        Float($0.elements(as: UInt8.self)[(($1 * rows + $3) * columns + $4) * 3 + $2])
      }
      #expect(offsets.count == samples)
    }
    let again = try shifts.shifted(batch, seed: 9)
    #expect(try zip(copies, again).allSatisfy { try $0.inputs["x"]?.array(as: UInt8.self) == $1.inputs["x"]?.array(as: UInt8.self) })
  }

  @Test func copies_fillUpToEnoughImages() {
    let graph = Self.graph([Self.convolution])
    #expect([1, 16, 64, 85, 86, 128, 129, 512].map { ImageShifts(graph, asked: nil, sampleCount: $0).copies } == [3, 3, 3, 2, 1, 1, 0, 0])
    #expect(ImageShifts(graph, asked: 0, sampleCount: 16).copies == 0)
    #expect(ImageShifts(graph, asked: 5, sampleCount: 4096).copies == 5)
  }

  @Test func otherInputs_areNotMoved() throws {
    let matrix = Self.graph([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])])
    #expect(ImageShifts(matrix, asked: nil, sampleCount: 16).copies == 0)
    // The value that a convolution takes for its weights is no image.
    let kernel = Self.graph([Node("Conv", inputs: ["z", "x"], outputs: ["y"])])
    #expect(ImageShifts(kernel, asked: 2, sampleCount: 16).copies == 0)
    let shifts = ImageShifts(Self.graph([Self.convolution]), asked: 2, sampleCount: 4)
    for shape in [[4, 3, 15, 32], [4, 3, 64]] {
      let small = try Batch(inputs: ["x": Tensor.zeros(.float32, shape)], labels: nil, sampleCount: 4)
      #expect(try shifts.shifted(small, seed: 0).isEmpty)
    }
  }
}
