extension Tensor {
  /// The same values in C order; itself when already so.
  public func rowMajor(arena: Arena? = nil) throws(CetError) -> Tensor { try converted(to: .rowMajor, arena: arena) }

  /// The same values with channels innermost; itself when already so or when the rank is below 3.
  public func channelsLast(arena: Arena? = nil) throws(CetError) -> Tensor { try converted(to: .channelsLast, arena: arena) }

  public func converted(to target: Layout, arena: Arena? = nil) throws(CetError) -> Tensor {
    guard rank >= 3, layout != target else { return self }
    let channels = shape[1]
    let spatial = shape[2...].reduce(1, *)
    if channels == 1 || spatial == 1 {  // both orders are the same bytes
      return try Tensor(type: type, shape: shape, layout: target, storage: storage, byteOffset: byteOffset)
    }
    let result = try Tensor(uninitialized: type, shape, layout: target, arena: arena)
    let (rows, columns) = target == .channelsLast ? (channels, spatial) : (spatial, channels)
    switch type.byteWidth {
    case 1: transposePlanes(UInt8.self, from: self, to: result, planes: shape[0], rows: rows, columns: columns)
    case 2: transposePlanes(UInt16.self, from: self, to: result, planes: shape[0], rows: rows, columns: columns)
    case 4: transposePlanes(UInt32.self, from: self, to: result, planes: shape[0], rows: rows, columns: columns)
    case 8: transposePlanes(UInt64.self, from: self, to: result, planes: shape[0], rows: rows, columns: columns)
    default: throw CetError(.internal, "no layout conversion for \(type)")
    }
    return result
  }

  /// Sizes in storage order, outermost first.
  public var storageShape: [Int] {
    layout == .rowMajor ? shape : [shape[0]] + shape[2...] + [shape[1]]
  }

  /// Strides in elements for each *logical* axis.
  public var strides: [Int] {
    let stored = storageShape.rowMajorStrides
    return layout == .rowMajor ? stored : [stored[0], stored[rank - 1]] + stored[1..<(rank - 1)]
  }
}

/// out[p][c][r] = in[p][r][c], in 16×16 blocks so that both sides stay in cache.
private func transposePlanes<Word>(
  _: Word.Type, from source: Tensor, to target: Tensor, planes: Int, rows: Int, columns: Int
) {
  let input = source.pointer.assumingMemoryBound(to: Word.self)
  let output = target.pointer.assumingMemoryBound(to: Word.self)
  let block = 16
  for plane in 0..<planes {
    let x = input + plane * rows * columns
    let y = output + plane * rows * columns
    var r0 = 0
    while r0 < rows {
      let r1 = min(r0 + block, rows)
      var c0 = 0
      while c0 < columns {
        let c1 = min(c0 + block, columns)
        for r in r0..<r1 {
          for c in c0..<c1 { y[c * rows + r] = x[r * columns + c] }
        }
        c0 = c1
      }
      r0 = r1
    }
  }
}
