import CetTensor

/// What a curvature operator holds, decided before it computes.
public struct CurvatureMemory: Sendable {
  /// Bytes that may be held.
  public let limit: Int
  /// Bytes that will be held at most: weights, samples, references, kept primals, buffers of the runs, sums.
  public let predicted: Int
  /// Threads that compute batches: fewer than asked for when their buffers do not fit.
  public let workers: Int
  /// Batches, the first ones, whose primals stay between products.
  public let keptBatches: Int
  /// Directions whose products are computed in one pass over the batches; the same on all processes.
  public internal(set) var directions: Int

  /// What memory is needed for, in bytes.
  struct Needs {
    /// Weights, samples and references.
    var fixed: Int
    /// Of each batch.
    var run: [Int]
    var kept: [Int]
    /// Sums of one direction.
    var sums: Int
    /// The product of one batch in one direction.
    var product: Int
  }

  /// More directions read weights and primals no less often per direction in any way that can be measured.
  private static let mostDirections = 8

  /// - Parameter limit: nil: the least memory that is enough for one thread, and nothing kept.
  init(_ needs: Needs, limit asked: Int?, threads: Int) throws {
    let run = needs.run.max() ?? 0
    let least = needs.fixed + needs.sums + run
    let limit = asked ?? least
    self.limit = limit
    guard least <= limit else {
      throw CetError(
        .outOfMemory,
        "curvature needs at least \(least) bytes (weights, samples and references \(needs.fixed), sums \(needs.sums), buffers \(run)), max_memory is \(limit)")
    }
    workers = max(1, min(threads, needs.run.count, run == 0 ? threads : (limit - needs.fixed - needs.sums) / run))
    var used = needs.fixed + needs.sums + workers * run
    let direction = needs.sums + workers * needs.product
    let all = needs.kept.reduce(0, +)
    // Primals are prepared once for all directions of a pass, so directions come first where not all can be kept.
    var directions = 1
    while directions < CurvatureMemory.mostDirections, direction > 0,
      used + direction <= limit - (all <= limit - used - direction ? all : (limit - used) / 4 * 3)
    {
      directions += 1
      used += direction
    }
    self.directions = directions
    var kept = 0
    for bytes in needs.kept {
      guard used + bytes <= limit else { break }
      used += bytes
      kept += 1
    }
    keptBatches = kept
    predicted = used
  }
}
