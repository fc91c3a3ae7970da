import CetLayers

extension BoundModel {
  /// Runs of layers (of `indices`, in their order) that see the same rows of the same input: one covariance serves
  /// the whole run, as that of query, key and value.
  func sharedInputs(_ indices: [Int], _ batches: [FittingBatch]) -> [[Int]] {
    var runs: [[Int]] = []
    for index in indices {
      if let first = runs.last?.first, sharesInput(first, index),
        batches.allSatisfy({ $0.rows[first] == $0.rows[index] })
      {
        runs[runs.count - 1].append(index)
      } else {
        runs.append([index])
      }
    }
    return runs
  }

  /// Inputs of which `sharedInputs` may make a run, whatever layers it is asked for.
  var sharedInputNames: Set<String> {
    var (once, more): (Set<String>, Set<String>) = ([], [])
    for layer in layers {
      guard case .matrix = layer.kind, let input = layer.input else { continue }
      if !once.insert(input).inserted { more.insert(input) }
    }
    return more
  }

  private func sharesInput(_ a: Int, _ b: Int) -> Bool {
    guard case .matrix = layers[a].kind, case .matrix = layers[b].kind else { return false }
    return layers[a].input != nil && layers[a].input == layers[b].input
      && (biasNames[a] == nil) == (biasNames[b] == nil)
  }
}
