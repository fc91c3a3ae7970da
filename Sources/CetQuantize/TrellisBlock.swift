import CKernels
import CetTensor
import Glibc

/// The values of a trellis code for one width, as its search needs them; read only once they are made.
final class TrellisValues: @unchecked Sendable {
  let code: TrellisCode
  let bits: Int
  private let storage: Storage

  init(_ code: TrellisCode, bits: Int) throws(CetError) {
    self.code = code
    self.bits = bits
    storage = try Storage(byteCount: MemoryLayout<ck_trellis_values>.stride)
    ck_trellis_prepare(
      storage.pointer.assumingMemoryBound(to: ck_trellis_values.self), Int32(code.stateBits), Int32(bits), code.table)
  }

  var pointer: UnsafePointer<ck_trellis_values> { UnsafePointer(storage.pointer.assumingMemoryBound(to: ck_trellis_values.self)) }
}

/// Trellis codes of the lanes of a row block, found by K-best decoding: GPTQ's error feedback (arXiv 2210.17323) along many
/// paths at once, each with targets of its own. With one path and no memory this is GPTQ.
final class TrellisBlock {
  private let rows: RowBlock
  private let values: TrellisValues
  private let columns: Int
  private let blocks: Int
  /// Asked before every block of columns: a row may be long.
  private let interruption: Interruption?
  /// What the columns of a block take of errors in it, and in the block before it; zero beyond the last column. Where H is the
  /// identity there is nothing to hold.
  private let within: FloatBuffer  // [blocks][64][64]
  private let before: FloatBuffer  // [blocks][64][64]
  private let root: FloatBuffer  // [blocks · 64]
  private let work: Storage
  private let paths: Storage
  private(set) var codes: [UInt8]  // [lanes][columns]

  private static let width = Int(CK_TRELLIS_BLOCK)
  static let mostPaths = Int(CK_TRELLIS_PATHS)

  init(_ rows: RowBlock, _ values: TrellisValues, _ interruption: Interruption?) throws(CetError) {
    self.interruption = interruption
    self.rows = rows
    self.values = values
    let (columns, width) = (rows.columns, TrellisBlock.width)
    self.columns = columns
    blocks = (columns + width - 1) / width
    let held = rows.factor.isIdentity ? 1 : blocks * width * width
    within = try FloatBuffer(held)
    before = try FloatBuffer(held)
    root = try FloatBuffer(blocks * width)
    work = try Storage(byteCount: MemoryLayout<ck_trellis_work>.stride)
    work.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<ck_trellis_work>.stride)
    paths = try Storage(byteCount: rows.lanes * MemoryLayout<ck_trellis_paths>.stride)
    codes = [UInt8](repeating: 0, count: rows.lanes * columns)
    copyFactor()
  }

  private func copyFactor() {
    let (width, factor) = (TrellisBlock.width, rows.factor)
    guard !factor.isIdentity else {
      for j in 0..<blocks * width { root.pointer[j] = 1 }
      return
    }
    /// What column k takes of error j.
    func entry(_ j: Int, _ k: Int) -> Float { k < columns ? factor.feedback.pointer[k * columns + j] : 0 }
    for block in 0..<blocks {
      for i in 0..<width {
        let (j, row) = (block * width + i, (block * width + i) * width)
        for k in 0..<width {
          within.pointer[row + k] = j < columns && k > i ? entry(j, block * width + k) : 0
          before.pointer[row + k] = block > 0 ? entry(j - width, block * width + k) : 0
        }
        root.pointer[j] = j < columns ? entry(j, j) : 0
      }
    }
  }

  /// Finds codes for every lane at its present scales, and leaves their levels in the row block.
  /// - Parameter most: paths that live at a time.
  func decode(paths most: Int) throws(CetError) {
    let (lanes, width) = (rows.lanes, TrellisBlock.width)
    let padded = blocks * width
    let weights = try FloatBuffer(lanes * padded)
    let targets = try FloatBuffer(lanes * padded)
    let scale = try FloatBuffer(lanes * padded)
    let errors = try FloatBuffer(lanes * width)
    memset(weights.pointer, 0, lanes * padded * MemoryLayout<Float>.stride)
    memset(scale.pointer, 0, lanes * padded * MemoryLayout<Float>.stride)
    let isIdentity = rows.factor.isIdentity
    let state = paths.pointer.assumingMemoryBound(to: ck_trellis_paths.self)
    for lane in 0..<lanes {
      var largest: Float = 0
      for column in 0..<columns { largest = max(largest, rows.scale(lane, column)) }
      // A row's squared errors are near 1, whatever its weights are: they neither vanish nor overflow.
      let unit = largest > 0 ? Float(sign: .plus, exponent: -largest.exponent, significand: 1) : 1
      for column in 0..<columns {
        weights.pointer[lane * padded + column] = rows.weights(lane)[column] * unit
        scale.pointer[lane * padded + column] = rows.scale(lane, column) * unit
      }
      ck_trellis_start(state + lane)
    }
    memcpy(targets.pointer, weights.pointer, lanes * padded * MemoryLayout<Float>.stride)
    try codes.withUnsafeMutableBufferPointer { codes throws(CetError) in
      guard let codes = codes.baseAddress else { return }
      for block in 0..<blocks {
        try interruption?.check()
        let start = block * width
        let count = min(width, columns - start)
        for lane in 0..<lanes {
          let offset = lane * padded + start
          ck_trellis_columns(
            state + lane, block, values.pointer, most, weights.pointer + offset, targets.pointer + offset,
            scale.pointer + offset, root.pointer + start, isIdentity ? nil : within.pointer + start * width,
            isIdentity ? nil : before.pointer + start * width, count,
            work.pointer.assumingMemoryBound(to: ck_trellis_work.self))
          ck_trellis_settle(
            state + lane, block, codes + lane * columns + max(0, start - width), errors.pointer + lane * width, count)
          if start + width >= columns { ck_trellis_finish(state + lane, block, codes + lane * columns + start, count) }
        }
        // What the block before has decided reaches the columns behind this one at once.
        let rest = columns - start - width
        if block > 0, rest > 0, !isIdentity {
          try LinearAlgebra.sgemm(
            errors.pointer, .plain, stride: width,
            rows.factor.feedback.pointer + (start + width) * columns + start - width, .transposed, stride: columns,
            into: targets.pointer + start + width, stride: padded, m: lanes, n: rest, k: width, beta: 1)
        }
      }
      for lane in 0..<lanes {
        ck_trellis_levels(
          Int32(values.code.stateBits), Int32(values.bits), values.code.table, codes + lane * columns,
          rows.level.pointer + lane * columns, columns)
      }
    }
  }
}
