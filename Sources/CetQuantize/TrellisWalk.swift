import CKernels
import CetTensor

/// In which order the weights of a row are steps through a trellis: the first of the axes beside the rows' runs fastest, the
/// others in C order. A convolution goes through its channels at one kernel position after the other: what two positions see is
/// alike, so errors at one are made up for at the next.
///
/// Where a row has one scale, its codes stand for weights that are rotated, run of steps by run of steps, by a Hadamard matrix:
/// H x / √n, its own inverse. Weights that are far from a normal distribution, above all single large ones, come close to it so
/// (arXiv 2404.00456, 2402.04396), and the table's values are those of a normal distribution.
public struct TrellisWalk: Sendable, Hashable {
  /// Columns that lie between two of one position: entries of all axes but the first.
  private let positions: Int
  /// n, the steps of a run: 16, in rows of 1024 and more 64, or a smaller power of two that divides the columns; 1: nothing is
  /// rotated.
  public let rotation: Int

  /// Columns in the order in which they stand, none of them rotated.
  public static let straight = TrellisWalk(positions: 1, rotation: 1)

  /// With longer runs the error of most rows falls no further. The longer a row is, the larger single weights of it are, and
  /// those of 30 times the mean need more others to be spread over.
  private static func longestRotation(columns: Int) -> Int { columns < 1024 ? 16 : 64 }

  private init(positions: Int, rotation: Int) {
    self.positions = positions
    self.rotation = rotation
  }

  /// - Parameters:
  ///   - axis: of the rows, inside the shape.
  ///   - blockSize: of blocks with scales of their own, which are of columns as they stand; 0, or no less than a row: one scale
  ///     a row.
  public init(_ shape: [Int], axis: Int, blockSize: Int = 0) {
    let others = shape.indices.filter { $0 != axis }.map { shape[$0] }
    positions = others.count > 1 ? max(1, Array(others.dropFirst()).elementCount) : 1
    let columns = others.elementCount
    rotation = (1..<max(1, columns)).contains(blockSize) || columns == 0 ? 1 : min(TrellisWalk.longestRotation(columns: columns), columns & -columns)
  }

  /// Rotates whole rows of steps, one after another, in place.
  func rotate(_ values: UnsafeMutablePointer<Float>, count: Int) {
    if rotation > 1 { ck_rotate_f32(values, rotation, count) }
  }

  /// A symmetric matrix of columns as one of steps as they are rotated.
  func rotated(_ matrix: UnsafePointer<Double>, dimension n: Int) -> [Double] {
    let order = columns(n)
    var result = [Double](repeating: 0, count: n * n)
    result.withUnsafeMutableBufferPointer { result in
      guard let result = result.baseAddress else { return }
      for i in 0..<n {
        for j in 0..<n { result[i * n + j] = matrix[order[i] * n + order[j]] }
      }
      guard rotation > 1 else { return }
      ck_rotate_f64(result, rotation, 1, n * n)
      for run in Swift.stride(from: 0, to: n, by: rotation) { ck_rotate_f64(result + run * n, rotation, n, rotation * n) }
    }
    return result
  }

  /// A row of so many columns as channels × positions, where its steps are not its columns in their order.
  public func detour(_ count: Int) -> (channels: Int, positions: Int)? {
    let channels = count / positions
    return positions > 1 && channels > 1 && channels * positions == count ? (channels, positions) : nil
  }

  /// The column of every step of a row of so many.
  public func columns(_ count: Int) -> [Int] {
    guard let (channels, positions) = detour(count) else { return Array(0..<count) }
    return (0..<count).map { $0 % channels * positions + $0 / channels }
  }

  /// Rows of entries in the order of the steps.
  public func steps<Element>(_ values: [Element], columns count: Int) -> [Element] {
    guard detour(count) != nil else { return values }
    let order = columns(count)
    return values.indices.map { values[$0 / count * count + order[$0 % count]] }
  }

  /// The way back.
  func inColumns<Element>(_ values: [Element], columns count: Int) -> [Element] {
    guard detour(count) != nil else { return values }
    let order = columns(count)
    var result = values
    for index in values.indices { result[index / count * count + order[index % count]] = values[index] }
    return result
  }
}
