import CetTensor
import Testing

@testable import CetAutodiff

/// Sums of 10 bytes, products of 4, runs of 100, fixed 50: one thread needs 160, two 260.
@Suite struct CurvatureMemoryTests {
  private static func memory(_ limit: Int?, threads: Int = 2, batches: Int = 4, kept: Int = 30) throws -> CurvatureMemory {
    try CurvatureMemory(
      .init(
        fixed: 50, run: .init(repeating: 100, count: batches), kept: .init(repeating: kept, count: batches), sums: 10,
        product: 4),
      limit: limit, threads: threads)
  }

  @Test func leastMemory_runsOneThreadAndKeepsNothing() throws {
    for found in [try Self.memory(160), try Self.memory(nil)] {
      #expect(found.workers == 1 && found.keptBatches == 0 && found.directions == 1)
      #expect(found.predicted == 160 && found.limit == 160)
    }
    let error = #expect(throws: CetError.self) { try Self.memory(159) }
    #expect(error?.code == .outOfMemory)
    #expect(error?.message.contains("needs at least 160 bytes") == true)
  }

  @Test func limit_isNeverPredictedToBeExceeded() throws {
    for limit in 160...2000 {
      for threads in [1, 2, 3, 8] {
        for (batches, kept) in [(1, 30), (2, 500), (4, 30), (9, 70)] {
          let found = try Self.memory(limit, threads: threads, batches: batches, kept: kept)
          #expect(found.predicted <= limit)
          #expect((1...threads).contains(found.workers) && (1...8).contains(found.directions))
        }
      }
    }
  }

  @Test func memory_goesToThreadsThenToPrimals() throws {
    #expect(try Self.memory(259).workers == 1)
    #expect(try Self.memory(260).workers == 2)
    #expect(try Self.memory(260).keptBatches == 0)
    #expect(try Self.memory(290).keptBatches == 1)
    #expect(try Self.memory(380).keptBatches == 4)
    let large = try Self.memory(10_000)
    #expect(large.keptBatches == 4 && large.directions == 8 && large.workers == 2)
    #expect(large.predicted == 260 + 120 + 7 * 18)
  }

  @Test func release_keepsFewerPrimalsThenUsesFewerThreads() throws {
    var found = try Self.memory(380)
    found.release(31, directions: 1)
    #expect(found.keptBatches == 2 && found.workers == 2 && found.predicted == 320)
    found.release(1000, directions: 1)
    #expect(found.keptBatches == 0 && found.workers == 1 && found.predicted == 160 && found.least == 160)
  }

  @Test func release_beginsWithDirectionsThatAreNotNeeded() throws {
    var found = try Self.memory(10_000)
    found.release(20, directions: 2)
    #expect(found.directions == 6 && found.keptBatches == 4 && found.predicted == 260 + 120 + 5 * 18)
    found.release(100, directions: 2)
    #expect(found.directions == 2 && found.keptBatches == 3 && found.predicted == 260 + 90 + 18)
  }

  @Test func threads_withoutABatchShareDirections() throws {
    let found = try Self.memory(10_000, threads: 8, batches: 2)
    #expect(found.workers == 8 && found.directions == 8)
    #expect(try Self.memory(320, threads: 8, batches: 2).workers == 2)
  }

  @Test func primals_thatDoNotFitMakeRoomForDirections() throws {
    let found = try Self.memory(600, kept: 1000)
    #expect(found.keptBatches == 0)
    #expect(found.directions == 5)  // (600 − 260) / 4 / 18 = 4 beside the first
  }
}
