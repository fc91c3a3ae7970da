import CetQuantize
import CetTensor

/// The factored covariance of every group of a layer's inputs. Codings go through columns in orders of their own: each order is
/// factored once, when it is first asked for.
public final class InputFactors {
  private let groups: [(covariance: [Double], patches: Int)]
  private let workers: Workers
  private var made: [CurvatureFactor.ColumnOrder: [CurvatureFactor]] = [:]

  /// - Parameter groups: K × K covariances, and the patches that they were taken from.
  init(_ groups: [(covariance: [Double], patches: Int)], _ workers: Workers) {
    self.groups = groups
    self.workers = workers
  }

  public convenience init(_ statistics: InputStatistics, _ workers: Workers) {
    self.init(statistics.groups.map { ($0.covariance, $0.count) }, workers)
  }

  /// Damped by what so many patches leave unknown.
  func factors(for coding: Coding, _ walk: TrellisWalk) throws(CetError) -> [CurvatureFactor] {
    let order = coding.isTrellis ? CurvatureFactor.ColumnOrder.walk(walk) : .fallingVariance
    if let known = made[order] { return known }
    let factors = try groups.map { group throws(CetError) in
      let columns = Int(Double(group.covariance.count).squareRoot().rounded())
      let damping = max(
        SamplePolicy.relativeDamping(patches: group.patches, columns: columns),
        Shrinkage.damping(group.covariance, columns: columns, patches: group.patches))
      return try CurvatureFactor(
        covariance: group.covariance, dimension: columns, relativeDamping: damping, columns: order, workers: workers)
    }
    made[order] = factors
    return factors
  }
}
