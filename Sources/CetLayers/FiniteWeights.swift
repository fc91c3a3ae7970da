import CetGraph
import CetTensor

/// Which weight tensors hold values that no grid has: NaN or infinities, as masks and rows that are never read do.
/// Each is looked at once, when it is first asked for.
final class FiniteWeights: @unchecked Sendable {
  private let lock = Lock()
  private var known: [String: String?] = [:]

  /// Why a tensor stays float; nil where it can be quantized.
  func obstacle(_ name: String, _ tensor: Tensor?) -> String? {
    lock.withLock {
      if let reason = known[name] { return reason }
      let reason = tensor.flatMap(firstNonFinite).map { position in
        "holds a value that is not finite at [\(position.map(String.init).joined(separator: ", "))]"
      }
      known[name] = .some(reason)
      return reason
    }
  }
}

/// The position of the first NaN or infinity of a float tensor.
public func firstNonFinite(_ tensor: Tensor) -> [Int]? {
  let bad: Int?
  switch tensor.type {
  case .float32: bad = firstIndex(tensor, Float.self) { !$0.isFinite }
  case .float64: bad = firstIndex(tensor, Double.self) { !$0.isFinite }
  case .float16: bad = firstIndex(tensor, UInt16.self) { $0 & 0x7C00 == 0x7C00 }
  case .bfloat16: bad = firstIndex(tensor, UInt16.self) { $0 & 0x7F80 == 0x7F80 }
  default: bad = nil
  }
  guard var rest = bad else { return nil }
  var position: [Int] = []
  for size in tensor.shape.reversed() {
    position.append(rest % size)
    rest /= size
  }
  return position.reversed()
}

private func firstIndex<Element>(_ tensor: Tensor, _: Element.Type, _ test: (Element) -> Bool) -> Int? {
  let values = tensor.pointer.assumingMemoryBound(to: Element.self)
  for index in 0..<tensor.count where test(values[index]) { return index }
  return nil
}
