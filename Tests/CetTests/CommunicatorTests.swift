import CetTensor
import Glibc
import Testing

@testable import Cet

/// Ranks as threads of one process.
@Suite struct CommunicatorTests {
  private static func fixture(_ name: String, file: String = #filePath) -> String {
    file.split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 } + "/Fixtures/" + name
  }

  private static let batch = 5
  private static let total = 63

  /// A curvature of samples `range`, of the first 63 unless they are split otherwise.
  private static func curvature(
    _ communicator: Communicator?, _ range: Range<Int>? = nil, loss: LossKind = .crossEntropy, batch: Int? = batch,
    _ change: (inout CurvatureOptions) -> Void = { _ in }
  ) throws -> Curvature {
    let loaded = try LoadedModel(path: fixture("digits_cnn/model.onnx"))
    let all = try Calibration(npz: fixture("digits_cnn/calibration.npz")).fitted(to: loaded.requiredInputs)
    let share = try range ?? communicator.map {
      try communicatorRange(total: total, batchSize: batch ?? 16, size: $0.size, rank: $0.rank)
    } ?? 0..<total
    let part = try all.batches[0].samples(share)
    var data = Calibration()
    try data.add(inputs: part.inputs, labels: part.labels)
    var options = CurvatureOptions()
    options.loss = loss
    options.batchSize = batch
    options.threads = 1
    change(&options)
    let (fitted, chosen) = (try data.fitted(to: loaded.requiredInputs), options)
    return try Curvature(communicator) { (loaded, fitted, chosen) }
  }

  private static func wave(_ k: Int, _ count: Int) -> [Float] {
    (0..<count).map { Float(sin(0.1 * Double(k + 1) * Double($0 + 1))) }
  }

  private static func apply(_ map: Curvature, _ v: [Float]) throws -> [Float] {
    var result = [Float](repeating: .nan, count: v.count)
    try v.withUnsafeBufferPointer { v in
      try result.withUnsafeMutableBufferPointer { hv in
        try map.apply(count: v.count / map.dimension) { (try #require(v.baseAddress), try #require(hv.baseAddress)) }
      }
    }
    return result
  }

  private static func gradient(_ map: Curvature) throws -> [Float] {
    var result = [Float](repeating: .nan, count: map.dimension)
    try result.withUnsafeMutableBufferPointer { g in try map.gradient { try #require(g.baseAddress) } }
    return result
  }

  private static func spectrum(_ map: Curvature, _ monitor: Monitor = Monitor()) throws -> Spectrum {
    var options = EigensolveOptions()
    options.count = 3
    options.tolerance = 1e-2
    options.threads = 1
    return try map.together { () throws(CetError) in
      try eigensolve(map, options, monitor)
    }
  }

  @Test(arguments: [LossKind.crossEntropy, .kl], [1, 2, 3, 4])
  func everything_hasTheSameBitsForAnyNumberOfRanks(_ loss: LossKind, _ size: Int) throws {
    let alone = try Self.curvature(nil, loss: loss)
    let v = Self.wave(0, alone.dimension)
    let expected = (try alone.loss(), try Self.gradient(alone), try Self.apply(alone, v))
    for result in try Meeting(size).run({ communicator in
      let map = try Self.curvature(communicator, loss: loss)
      return (try map.loss(), try Self.gradient(map), try Self.apply(map, v), map.sampleCount)
    }) {
      let found = try result.get()
      #expect(found.0 == expected.0)
      #expect(found.1 == expected.1)
      #expect(found.2 == expected.2)
      #expect(found.3 == Self.total)
    }
  }

  @Test func spectrum_hasTheSameBitsForAnyNumberOfRanks() throws {
    let expected = try Self.spectrum(Self.curvature(nil))
    #expect(expected.pairs.converged == [true, true, true])
    for size in [2, 4] {
      for result in try Meeting(size).run({ try Self.spectrum(Self.curvature($0)) }) {
        let found = try result.get()
        #expect(found.pairs.values == expected.pairs.values)
        for pair in 0..<3 { #expect(found.pairs.vectors[pair] == expected.pairs.vectors[pair]) }
        #expect(found.pairs.residualNorms == expected.pairs.residualNorms)
      }
    }
  }

  @Test func sum_thatFailsStopsAllLaterCalls() throws {
    let communicator = try Communicator(rank: 0, size: 2) { _, _ in 7 }
    for _ in 0..<2 {
      let error = #expect(throws: CetError.self) { try Self.curvature(communicator) }
      #expect(error?.code == .cancelled)
      #expect(error?.message == "rank 0 of 2: the communicator's sum returned 7")
    }
  }

  /// The batch size that the library chooses depends on the samples of all ranks: 63 are batches of 16.
  @Test func batchSize_chosenByTheLibraryIsThatOfAllSamples() throws {
    let alone = try Self.curvature(nil, batch: nil)
    let v = Self.wave(1, alone.dimension)
    let expected = try Self.apply(alone, v)
    for result in try Meeting(4).run({ try Self.apply(Self.curvature($0, batch: nil), v) }) {
      #expect(try result.get() == expected)
    }
  }

  private func expectFailure<Result>(
    _ results: [Swift.Result<Result, any Error>], _ code: CetError.Code, own: Int?, _ text: String
  ) {
    for (rank, result) in results.enumerated() {
      guard case .failure(let failure) = result, let error = failure as? CetError else {
        Issue.record("rank \(rank) did not fail")
        continue
      }
      #expect(error.code == code)
      #expect(error.message.contains(own == nil || own == rank ? text : "rank \(own ?? 0) of"), "\(error.message)")
    }
  }

  @Test func split_thatIsNotTheTreesIsRefusedOnAllRanks() throws {
    expectFailure(
      try Meeting(2).run { try Self.curvature($0, $0.rank == 0 ? 0..<20 : 20..<63).dimension }, .invalidArgument, own: nil,
      "rank 0 of 2 has batches 0..<4 of 13, expected 0..<7")
    expectFailure(
      try Meeting(2).run { try Self.curvature($0, $0.rank == 0 ? 0..<33 : 33..<63).dimension }, .invalidArgument, own: nil,
      "the last batch of rank 0 is not full")
  }

  @Test func failure_ofOneRankIsOneOfAll() throws {
    expectFailure(
      try Meeting(4).run { communicator in
        try Self.curvature(communicator) { if communicator.rank == 2 { $0.threads = 0 } }.dimension
      }, .invalidArgument, own: 2, "threads")
    expectFailure(
      try Meeting(2).run { communicator in
        try Self.curvature(communicator) { if communicator.rank == 1 { $0.maxMemory = 1000 } }.dimension
      }, .outOfMemory, own: 1, "curvature needs at least")
    expectFailure(
      try Meeting(2).run { communicator in
        try Self.curvature(communicator) { if communicator.rank == 1 { $0.curvature = .gaussNewton } }.dimension
      }, .invalidArgument, own: nil, "rank 1 has another model, loss or curvature than rank 0")
  }

  @Test func failure_ofAVectorLeavesTheHandlesUsable() throws {
    let v = Self.wave(0, try Self.curvature(nil).dimension)
    let results = try Meeting(2).run { communicator in
      let map = try Self.curvature(communicator)
      var result = v
      let error = #expect(throws: CetError.self) {
        try v.withUnsafeBufferPointer { v in
          try result.withUnsafeMutableBufferPointer { hv in
            try map.apply(count: 1) {
              if communicator.rank == 1 { throw CetError(.numeric, "on purpose") }
              return (try #require(v.baseAddress), try #require(hv.baseAddress))
            }
          }
        }
      }
      #expect(error?.code == .numeric)
      return try Self.apply(map, v)
    }
    #expect(try results[0].get() == results[1].get())
    #expect(try results[0].get() == Self.apply(Self.curvature(nil), v))
  }

  @Test(arguments: [1, 3, 1000]) func eigensolve_cancelledOnOneRankEndsOnAll(_ calls: Int) throws {
    let results = try Meeting(2).run { communicator in
      let map = try Self.curvature(communicator)
      var count = 0
      let monitor = Monitor(progress: { _, done, total in
        count += 1
        return communicator.rank == 0 || !(count >= calls || done == total)
      })
      return try Self.spectrum(map, monitor).pairs.values.count
    }
    expectFailure(results, .cancelled, own: 1, "cancelled")
  }
}
