import CetTensor

/// A part of a value that is cut out along an axis: of every `period` blocks of `inner` elements in C order those at
/// `indices`. Described so, a reshaped value has the same part.
struct SelectedRows: Hashable {
  private let period: Int
  private let inner: Int
  /// Ascending, each once.
  private let indices: [Int]

  /// nil when nothing is left out, or everything.
  init?(axis: Int, of shape: [Int], indices: some Sequence<Int>) {
    self.init(period: shape[axis], inner: shape[(axis + 1)...].reduce(1, *), indices: Set(indices).sorted())
  }

  private init?(period size: Int, inner: Int, indices all: [Int]) {
    guard !all.isEmpty, all.count < size, inner > 0 else { return nil }
    self.inner = inner
    // A batch of rows that each sample repeats is known by those of one sample.
    let periods = (1...all.count).lazy.filter { size % $0 == 0 && all.count % $0 == 0 }
    let repeats = periods.last { repeats in
      let (period, count) = (size / repeats, all.count / repeats)
      return all[count - 1] < period && (count..<all.count).allSatisfy { all[$0] == all[$0 - count] + period }
    }
    period = size / (repeats ?? 1)
    indices = Array(all.prefix(all.count / (repeats ?? 1)))
  }

  /// The axis of a value of this shape along which the part is cut out, and its indices there.
  func along(_ shape: [Int]) -> (axis: Int, indices: [Int])? {
    var stride = 1
    for axis in shape.indices.reversed() {
      let size = shape[axis]
      if size > 1, inner % stride == 0, stride * size % (period * inner) == 0 {
        let kept = Set(indices)
        return (axis, (0..<size).filter { kept.contains($0 * stride / inner % period) })
      }
      stride *= size
    }
    return nil
  }

  /// The rows of this part and of another; nil when together they are everything, or cut out differently.
  func union(_ other: SelectedRows) -> SelectedRows? {
    guard period == other.period, inner == other.inner else { return nil }
    return SelectedRows(period: period, inner: inner, indices: Set(indices).union(other.indices).sorted())
  }
}
