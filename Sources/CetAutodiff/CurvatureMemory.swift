import CetTensor

/// What a curvature operator holds, decided before it computes.
public struct CurvatureMemory: Sendable {
  /// Bytes that are enough: one thread, nothing kept.
  public let least: Int
  /// Bytes that may be held.
  public let limit: Int
  /// Bytes that will be held at most: weights, samples, references, kept primals, buffers of the runs, sums.
  public private(set) var predicted: Int
  /// Threads that compute batches: fewer than asked for when their buffers do not fit.
  public private(set) var workers: Int
  /// Batches, the first ones, whose primals stay between products.
  public private(set) var keptBatches: Int
  /// Directions whose products are computed in one pass over the batches; the same on all processes.
  public internal(set) var directions: Int

  /// Bytes of each batch's primals, of one direction more, of one thread more.
  private let kept: [Int]
  private let direction: Int
  private let run: Int

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

  /// Preparing primals costs less than a product: an eighth of it is little.
  private static let mostDirections = 8

  /// - Parameter limit: nil: the least memory that is enough for one thread, and nothing kept.
  init(_ needs: Needs, limit asked: Int?, threads: Int) throws(CetError) {
    let run = needs.run.max() ?? 0
    let least = needs.fixed + needs.sums + run
    self.least = least
    let limit = asked ?? least
    self.limit = limit
    guard least <= limit else {
      throw CetError(
        .outOfMemory,
        "curvature needs at least \(least) bytes (weights, samples and references \(needs.fixed), sums \(needs.sums), buffers \(run)), max_memory is \(limit)",
        bytesNeeded: least)
    }
    var workers = max(1, min(threads, needs.run.count, run == 0 ? threads : (limit - needs.fixed - needs.sums) / run))
    var used = needs.fixed + needs.sums + workers * run
    let all = needs.kept.reduce(0, +)
    var directions = 1
    if used + all <= limit {
      // Workers that have no batch share the directions of one.
      let more = needs.sums + needs.run.count * run
      while workers == needs.run.count * directions, workers + needs.run.count <= threads, used + all + more <= limit {
        directions += 1
        workers += needs.run.count
        used += more
      }
    }
    // Single products have nothing from further directions: a quarter of what is left is spent on them at most.
    let direction = needs.sums + workers * needs.product
    let rest = limit - used
    let spare = (all <= rest ? rest - all : rest) / 4
    let most = max(directions, min(CurvatureMemory.mostDirections, directions + spare / max(1, direction)))
    if all <= rest {
      used += (most - directions) * direction
      directions = most
    } else {
      // A pass prepares primals once for all its directions: what is not kept, by the number of directions, is least.
      let missing = { (count: Int) in Double(all - rest + (count - 1) * direction) / Double(count) }
      directions = (1...most).min { missing($0) < missing($1) } ?? 1
      used += (directions - 1) * direction
    }
    self.workers = workers
    self.directions = directions
    kept = needs.kept
    self.direction = direction
    self.run = run
    keptBatches = 0
    for bytes in needs.kept {
      guard used + bytes <= limit else { break }
      used += bytes
      keptBatches += 1
    }
    predicted = used
  }

  /// Until `bytes` less will be held, or as little as is enough for `directions`: takes fewer directions together, keeps the
  /// primals of fewer batches, and uses fewer threads at last.
  mutating func release(_ bytes: Int, directions needed: Int) {
    let goal = predicted - bytes
    while predicted > goal, directions > max(1, needed) {
      directions -= 1
      predicted -= direction
    }
    while predicted > goal, keptBatches > 0 {
      keptBatches -= 1
      predicted -= kept[keptBatches]
    }
    while predicted > goal, workers > 1 {
      workers -= 1
      predicted -= run
    }
  }
}
