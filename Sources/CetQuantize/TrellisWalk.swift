import CetTensor

/// In which order the weights of a row are steps through a trellis: the first of the axes beside the rows' runs fastest, the
/// others in C order. A convolution goes through its channels at one kernel position after the other: what two positions see is
/// alike, so errors at one are made up for at the next.
public struct TrellisWalk: Sendable, Hashable {
  /// Columns that lie between two of one position: entries of all axes but the first.
  private let positions: Int

  /// Columns in the order in which they stand.
  public static let straight = TrellisWalk(positions: 1)

  private init(positions: Int) { self.positions = positions }

  /// - Parameter axis: of the rows, inside the shape.
  public init(_ shape: [Int], axis: Int) {
    let others = shape.indices.filter { $0 != axis }.map { shape[$0] }
    positions = others.count > 1 ? max(1, Array(others.dropFirst()).elementCount) : 1
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
