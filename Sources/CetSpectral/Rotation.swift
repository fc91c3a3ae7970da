import CKernels
import CetTensor
import Glibc

extension Basis {
  /// What rounding did to rotated vectors u_i, stored as u_i + e_i: zero for float32, whose rounding is that of all
  /// other vectors.
  struct Rounding {
    /// ⟨u_i, e_j⟩ at i · kept + j.
    var cross: [Double]
    /// ⟨e_i, e_j⟩
    var square: [Double]
  }

  /// Row i ← Σ_j y[i][j] v_j for i < kept, in place: rows of the kept × count matrix y are the coordinates of the
  /// new vectors.
  func rotate(_ y: [Double], kept: Int, count: Int) throws(CetError) -> Rounding {
    let size = type == .bfloat16 ? kept * kept : 0
    var rounding = Rounding(cross: [Double](repeating: 0, count: size), square: [Double](repeating: 0, count: size))
    try workers.ordered(panels) { panel in
      try rotate(panel, y, kept: kept, count: count, as: type, measures: type == .bfloat16)
    } combine: { _, partial in
      for k in 0..<size {
        rounding.cross[k] += partial.cross[k]
        rounding.square[k] += partial.square[k]
      }
    }
    return rounding
  }

  /// The rotated vectors as the final ones: as float32 if that takes no more memory than the basis has, packed to the
  /// front of it; the rest is given back. The basis is of no use afterwards.
  func rotateForGood(_ y: [Double], kept: Int, count: Int) throws(CetError) -> Eigenvectors {
    let target = kept * 4 <= rows * type.byteCount ? BasisType.float32 : type
    try workers.forEach(panels) { panel in
      _ = try rotate(panel, y, kept: kept, count: count, as: target, measures: false)
    }
    for panel in 0..<panels {
      let output = memory.pointer + panel * Basis.width * kept * target.byteCount
      memmove(output, address(panel, 0), kept * columns(panel).count * target.byteCount)
    }
    memory.truncate(to: kept * n * target.byteCount)
    return Eigenvectors(dimension: n, order: Array(0..<kept), type: target, memory: memory)
  }

  private func rotate(
    _ panel: Int, _ y: [Double], kept: Int, count: Int, as target: BasisType, measures: Bool
  ) throws(CetError) -> Rounding {
    let start = address(panel, 0)
    guard target != type else {
      return try rotate(panel, y, kept: kept, count: count, from: start, into: start, as: target, measures: measures)
    }
    // A wider result would overwrite what is still to be read.
    let length = count * columns(panel).count * type.byteCount
    let copy = try Storage(byteCount: length)
    copy.pointer.copyMemory(from: start, byteCount: length)
    return try rotate(panel, y, kept: kept, count: count, from: copy.pointer, into: start, as: target, measures: measures)
  }

  /// One panel, some columns at a time; in place when source and target are one place and one type.
  private func rotate(
    _ panel: Int, _ y: [Double], kept: Int, count: Int, from source: UnsafeMutableRawPointer,
    into output: UnsafeMutableRawPointer, as target: BasisType, measures: Bool
  ) throws(CetError) -> Rounding {
    let full = columns(panel).count
    let width = min(2048, full)
    let old = try Storage(byteCount: count * width * 8)
    let new = try Storage(byteCount: kept * width * 8)
    let error = try Storage(byteCount: measures ? kept * width * 8 : 0)
    let a = old.pointer.assumingMemoryBound(to: Double.self)
    let u = new.pointer.assumingMemoryBound(to: Double.self)
    let e = error.pointer.assumingMemoryBound(to: Double.self)
    let size = measures ? kept * kept : 0
    var rounding = Rounding(cross: [Double](repeating: 0, count: size), square: [Double](repeating: 0, count: size))
    var row = [Float](repeating: 0, count: width)
    for start in stride(from: 0, to: full, by: width) {
      let length = min(width, full - start)
      for j in 0..<count {
        switch type {
        case .float32:
          let v = source.assumingMemoryBound(to: Float.self) + j * full + start
          for k in 0..<length { a[j * length + k] = Double(v[k]) }
        case .bfloat16:
          let v = source.assumingMemoryBound(to: UInt16.self) + j * full + start
          for k in 0..<length { a[j * length + k] = Double(Float(bitPattern: UInt32(v[k]) << 16)) }
        }
      }
      try y.withUnsafeBufferPointer { y throws(CetError) in
        guard let y = y.baseAddress else { return }
        try LinearAlgebra.dgemm(
          y, .plain, stride: count, a, .plain, stride: length, into: u, stride: length, m: kept, n: length, k: count)
      }
      for i in 0..<kept {
        switch target {
        case .float32:
          let v = output.assumingMemoryBound(to: Float.self) + i * full + start
          for k in 0..<length { v[k] = Float(u[i * length + k]) }
        case .bfloat16:
          let v = output.assumingMemoryBound(to: UInt16.self) + i * full + start
          for k in 0..<length { row[k] = Float(u[i * length + k]) }
          ck_narrow_bf16(&row, v, length)
          guard measures else { continue }
          for k in 0..<length { e[i * length + k] = Double(Float(bitPattern: UInt32(v[k]) << 16)) - u[i * length + k] }
        }
      }
      guard measures else { continue }
      try rounding.cross.withUnsafeMutableBufferPointer { cross throws(CetError) in
        try rounding.square.withUnsafeMutableBufferPointer { square throws(CetError) in
          guard let cross = cross.baseAddress, let square = square.baseAddress else { return }
          try LinearAlgebra.dgemm(
            u, .plain, stride: length, e, .transposed, stride: length, into: cross, stride: kept, m: kept, n: kept,
            k: length, beta: 1)
          try LinearAlgebra.dgemm(
            e, .plain, stride: length, e, .transposed, stride: length, into: square, stride: kept, m: kept, n: kept,
            k: length, beta: 1)
        }
      }
    }
    return rounding
  }
}
