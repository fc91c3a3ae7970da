import CetTensor
import Testing

@testable import Cet

@Suite struct SampleAxesTests {
  private func info(_ name: String, _ shape: [ValueInfo.Dimension]?) -> ValueInfo {
    ValueInfo(name: name, type: .float32, shape: shape)
  }

  private func axes(_ inputs: [(info: ValueInfo, shape: [Int])]) throws -> SampleAxes {
    try SampleAxes(inputs.map(\.info), inputs.map { try Tensor.zeros(.float32, $0.shape) })
  }

  @Test func freeAxis0_countsSamples() throws {
    let found = try axes([(info("x", [.symbolic("n"), .fixed(3)]), [4, 3]), (info("y", nil), [4])])
    #expect(found.count == 4 && found.axis == ["x": 0, "y": 0])
  }

  /// A recurrent network: frames, the state that goes with each, the sampling rate of all.
  @Test func stateAndScalar_areNoMatterOfAxis0() throws {
    let named = try axes([
      (info("rate", []), []), (info("state", [.fixed(2), .symbolic("batch"), .fixed(128)]), [2, 5, 128]),
      (info("frames", [.symbolic("batch"), .symbolic("length")]), [5, 576]),
    ])
    #expect(named.count == 5 && named.axis == ["state": 1, "frames": 0])
    let unnamed = try axes([
      (info("frames", [.unknown, .unknown]), [5, 576]), (info("state", [.fixed(2), .unknown, .fixed(128)]), [2, 5, 128]),
    ])
    #expect(unnamed.axis == ["state": 1, "frames": 0])
    let shared = try axes([
      (info("frames", [.symbolic("length"), .fixed(576)]), [32, 576]), (info("state", [.fixed(1), .fixed(1), .fixed(128)]), [1, 1, 128]),
    ])
    #expect(shared.count == 32 && shared.axis == ["frames": 0])
  }

  @Test func fixedSizes_followTheFirstInput() throws {
    let frames = info("frames", [.fixed(2), .fixed(576)])
    let state = info("state", [.fixed(4), .fixed(1)])
    let found = try axes([(frames, [6, 576]), (state, [4, 1])])
    #expect(found.count == 6 && found.axis == ["frames": 0])
    #expect(SampleAxes.fixedBatchSize(of: [frames, state]) == 2)
    #expect(SampleAxes.fixedBatchSize(of: [state, info("x", [.unknown])]) == nil)
    #expect(throws: CetError.self) { try axes([(info("rate", []), [])]) }
  }

  @Test func samplesOfABatch_areTakenOnTheirAxes() throws {
    var data = Calibration()
    try data.add(inputs: [
      ("x", Tensor((0..<6).map(Float.init), shape: [3, 2])), ("state", Tensor((0..<12).map(Float.init), shape: [2, 3, 2])),
      ("rate", Tensor(scalar: Float(8))),
    ])
    #expect(data.sampleCount == 3)
    let fitted = try data.fitted(to: [
      info("x", [.symbolic("n"), .fixed(2)]), info("state", [.fixed(2), .symbolic("n"), .fixed(2)]), info("rate", []),
    ])
    let last = try fitted.batches[0].samples(1..<3)
    #expect(last.input("state")?.shape == [2, 2, 2])
    #expect(try last.input("state")?.array(as: Float.self) == [2, 3, 4, 5, 8, 9, 10, 11])
    #expect(try last.input("x")?.array(as: Float.self) == [2, 3, 4, 5])
    #expect(last.input("rate")?.shape == [])
  }

  @Test func stateOfAnotherLength_isRefused() throws {
    var data = Calibration()
    try data.add(inputs: [("x", Tensor.zeros(.float32, [3, 2])), ("state", Tensor.zeros(.float32, [1, 2, 3]))])
    let required = [info("x", [.symbolic("n"), .fixed(2)]), info("state", [.fixed(1), .symbolic("n"), .fixed(3)])]
    do {
      _ = try data.fitted(to: required)
      Issue.record("accepted")
    } catch {
      #expect(error.code == .shapeMismatch)
      #expect(error.message == "input 'state' has shape [1×2×3], expected 3 samples on axis 1")
    }
  }
}
