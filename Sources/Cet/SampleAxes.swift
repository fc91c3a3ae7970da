import CetGraph
import CetTensor

/// Which axis of each model input counts samples, and how many there are.
///
/// Axis 0, where the model leaves its size free. An input that has a fixed size there although another input does not
/// (the state [2, batch, 128] of a recurrent network beside its frames [batch, 576]) counts samples on the axis that
/// carries the other's symbolic size, or, when sizes have no names, on the first free one as long as the samples. An
/// input with neither (a scalar, an initial state for all) is one value for every sample. When every size is fixed, the
/// first input says how many samples the model takes at a time, and inputs of another size belong to all of them.
struct SampleAxes {
  let count: Int
  /// By input name; inputs that are missing have none.
  let axis: [String: Int]

  init(_ required: [ValueInfo], _ tensors: [Tensor]) throws(CetError) {
    var axis: [String: Int] = [:]
    var count = 0
    let free = zip(required, tensors).first { $0.isFree && $1.rank > 0 }
    if let (leader, samples) = free {
      count = samples.shape[0]
      for (info, tensor) in zip(required, tensors) where tensor.rank > 0 {
        axis[info.name] = info.isFree ? 0 : SampleAxes.innerAxis(info, tensor, like: leader, count)
      }
    } else if let (leader, samples) = zip(required, tensors).first(where: { $1.rank > 0 }) {
      count = samples.shape[0]
      for (info, tensor) in zip(required, tensors) where tensor.rank > 0 && info.shape?.first == leader.shape?.first {
        axis[info.name] = 0
      }
    }
    guard count > 0 else {
      throw CetError(.shapeMismatch, "no input has samples on axis 0 (inputs: \(required.map(\.shapeText).joined(separator: ", ")))")
    }
    self.count = count
    self.axis = axis
  }

  private static func innerAxis(_ info: ValueInfo, _ tensor: Tensor, like leader: ValueInfo, _ count: Int) -> Int? {
    guard let shape = info.shape, shape.count == tensor.rank else { return nil }
    if case .symbolic? = leader.shape?.first, let named = shape.firstIndex(of: leader.shape?[0] ?? .unknown) { return named }
    return shape.indices.first { shape[$0] == .unknown && tensor.shape[$0] == count }
  }

  /// How many samples the model takes at a time; nil when any number.
  static func fixedBatchSize(of required: [ValueInfo]) -> Int? {
    guard !required.contains(where: \.isFree) else { return nil }
    for info in required { if case .fixed(let size)? = info.shape?.first { return size } }
    return nil
  }
}

extension ValueInfo {
  /// Whether the model leaves the size of axis 0 open.
  fileprivate var isFree: Bool {
    if case .fixed? = shape?.first { return false }
    return shape?.isEmpty != true
  }
}
