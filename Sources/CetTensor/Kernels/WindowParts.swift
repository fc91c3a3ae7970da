import CKernels

extension ck_window {
  /// Multiplications between two looks at the interruption: these loops are slower than matrix products.
  private static let partSize = 1 << 27

  /// Goes through the output positions in parts, in their order: `body` gets a window of some of them, and how many come
  /// before.
  /// - Parameter splitsLines: whether a line of the innermost axis may be cut.
  func forEachPart(
    channels: Int, splitsLines: Bool = true, _ context: ComputeContext, _ body: (inout ck_window, Int) throws(CetError) -> Void
  ) throws(CetError) {
    try part(Axis.a, 0, Int.saturatingProduct(channels, a.kernel * b.kernel * c.kernel), splitsLines, context, body)
  }

  private enum Axis { case a, b, c }

  private func part(
    _ axis: Axis, _ first: Int, _ work: Int, _ splitsLines: Bool, _ context: ComputeContext,
    _ body: (inout ck_window, Int) throws(CetError) -> Void
  ) throws(CetError) {
    let (path, inner): (WritableKeyPath<ck_window, ck_axis>, Int) =
      switch axis {
      case .a: (\.a, b.output * c.output)
      case .b: (\.b, c.output)
      case .c: (\.c, 1)
      }
    let each = Int.saturatingProduct(work, inner)
    let size = max(1, ck_window.partSize / max(1, each))
    let next: Axis? = each <= ck_window.partSize ? nil : axis == .a ? .b : axis == .b && splitsLines ? .c : nil
    try context.pieces(self[keyPath: path].output, of: size) { range throws(CetError) in
      var window = self
      window[keyPath: path].output = range.count
      window[keyPath: path].pad_begin -= range.lowerBound * self[keyPath: path].stride
      let start = first + range.lowerBound * inner
      if let next {
        try window.part(next, start, work, splitsLines, context, body)
      } else {
        try body(&window, start)
      }
    }
  }
}
