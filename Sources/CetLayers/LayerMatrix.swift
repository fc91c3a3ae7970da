import CetTensor

/// The matrix that a layer's inputs see, one row an output channel.
extension LinearLayer {
  /// Entries of an input patch.
  public var columns: Int { count / max(channels, 1) }

  /// Groups of rows that see different inputs.
  public var groups: Int {
    switch kind {
    case .convolution(let groups): max(1, groups)
    case .blocks(let names): max(1, names.count)
    default: 1
    }
  }

  /// Whether every group reads one channel.
  public var isDepthwise: Bool {
    guard case .convolution(let groups) = kind, shape.count > 2 else { return false }
    return groups > 1 && shape[1] == 1
  }

  /// Whether rounding uses statistics of the layer's inputs.
  public var usesStatistics: Bool {
    switch kind {
    case .convolution, .matrix, .leftMatrix, .blocks: true
    case .transposedConvolution(let groups): groups == 1
    case .table, .other: false
    }
  }
}
