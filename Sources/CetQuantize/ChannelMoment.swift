import CKernels
import CetTensor

/// Streaming means and covariances of the windows of many channels that do not see each other (depthwise convolution):
/// K × K for every channel, all channels at once, because each by itself would be a product of a few numbers.
///
/// A patch is [K][channels] floats. The arithmetic is that of `SecondMoment`, in runs of at most `chunkRows` patches that
/// end with every `add`.
public struct ChannelMoment: Sendable {
  public let dimension: Int
  public let channels: Int
  public private(set) var count = 0
  /// [K][channels]
  private var leftMean: [Double]
  private var rightMean: [Double]
  /// Σ (a_i − mean a_i)(b_j − mean b_j), [K][K][channels]; i < j is unused when symmetric.
  private var scatter: [Double]
  private let symmetric: Bool

  static let chunkRows = 512

  /// - Parameter symmetric: a = b: only `add(_:rows:)` may be called.
  public init(dimension: Int, channels: Int, symmetric: Bool) throws(CetError) {
    guard dimension >= 1, channels >= 1, let size = [dimension, dimension, channels].validatedCount else {
      throw CetError(.invalidArgument, "moments of \(channels) channels need a dimension of at least 1, got \(dimension)")
    }
    self.dimension = dimension
    self.channels = channels
    self.symmetric = symmetric
    leftMean = [Double](repeating: 0, count: dimension * channels)
    rightMean = leftMean
    scatter = [Double](repeating: 0, count: size)
  }

  public mutating func add(_ patches: UnsafePointer<Float>, rows: Int) throws(CetError) { try add(patches, patches, rows: rows) }

  /// Adds `rows` pairs of patches. Throws `.numeric` on NaN or infinity.
  public mutating func add(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rows: Int) throws(CetError) {
    let n = dimension * channels
    for first in stride(from: 0, to: rows, by: ChannelMoment.chunkRows) {
      let count = min(ChannelMoment.chunkRows, rows - first)
      let right = try ColumnMeans.centred(b + first * n, rows: count, columns: n, stride: n)
      let left = symmetric ? right : try ColumnMeans.centred(a + first * n, rows: count, columns: n, stride: n)
      combine(count: count, left.mean, right.mean)
      let (k, channels, symmetric) = (dimension, channels, symmetric)
      withExtendedLifetime((left, right)) {
        scatter.withUnsafeMutableBufferPointer { sum in
          guard let sum = sum.baseAddress else { return }
          ck_accumulate_channel_products_f32(symmetric, left.values.pointer, right.values.pointer, sum, count, k, channels)
        }
      }
    }
  }

  /// Appends what another accumulator saw. Merge in a fixed order: the sums are not associative.
  public mutating func merge(_ other: ChannelMoment) throws(CetError) {
    guard other.dimension == dimension, other.channels == channels, other.symmetric == symmetric else {
      throw CetError(.shapeMismatch, "cannot merge moments of different shapes")
    }
    combine(count: other.count, other.leftMean, other.rightMean)
    let n = scatter.count
    scatter.withUnsafeMutableBufferPointer { sum in
      other.scatter.withUnsafeBufferPointer { x in
        if let sum = sum.baseAddress, let x = x.baseAddress { ck_accumulate_f64(x, sum, n) }
      }
    }
  }

  /// Adds to `scatter` the term of the two means, and updates means and count.
  private mutating func combine(count added: Int, _ meanLeft: [Double], _ meanRight: [Double]) {
    guard added > 0 else { return }
    let (n, m) = (Double(count), Double(added))
    let total = n + m
    if count > 0 {
      let factor = n * m / total
      for i in 0..<dimension {
        for j in 0..<(symmetric ? i + 1 : dimension) {
          for c in 0..<channels {
            scatter[(i * dimension + j) * channels + c] +=
              factor * (meanLeft[i * channels + c] - leftMean[i * channels + c])
              * (meanRight[j * channels + c] - rightMean[j * channels + c])
          }
        }
      }
    }
    for i in leftMean.indices {
      leftMean[i] += (meanLeft[i] - leftMean[i]) * m / total
      rightMean[i] += (meanRight[i] - rightMean[i]) * m / total
    }
    count += added
  }

  /// E[a] and E[b] of a channel, K values each.
  public func leftMean(_ channel: Int) -> [Double] { (0..<dimension).map { leftMean[$0 * channels + channel] } }
  public func rightMean(_ channel: Int) -> [Double] { (0..<dimension).map { rightMean[$0 * channels + channel] } }

  /// Row-major K × K of a channel: E[(a−E a)(b−E b)ᵀ] when centred, E[a bᵀ] otherwise.
  public func covariance(_ channel: Int, centred: Bool = true) -> [Double] {
    let (k, n) = (dimension, Double(max(count, 1)))
    var result = [Double](repeating: 0, count: k * k)
    for i in 0..<k {
      for j in 0..<(symmetric ? i + 1 : k) {
        let value = scatter[(i * k + j) * channels + channel] / n
          + (centred ? 0 : leftMean[i * channels + channel] * rightMean[j * channels + channel])
        result[i * k + j] = value
        if symmetric { result[j * k + i] = value }
      }
    }
    return result
  }
}

/// Columns without their means.
struct ColumnMeans {
  let mean: [Double]
  /// Dense.
  let values: FloatBuffer

  /// out = x − mean(x) with the mean rounded to float, and the mean. The rounding adds (6·10⁻⁸ mean)² to a
  /// variance: nothing unless the mean is 10⁵ standard deviations, where the floats themselves hold no variance.
  /// - Parameter spareRows: behind the values, for whoever asks.
  static func centred(
    _ x: UnsafePointer<Float>, rows: Int, columns n: Int, stride: Int, spareRows: Int = 0, _ arena: Arena? = nil
  ) throws(CetError) -> ColumnMeans {
    let values = try FloatBuffer((rows + spareRows) * n, arena: arena)
    var mean = [Double](repeating: 0, count: n)
    ck_accumulate_columns_f32(x, stride, &mean, rows, n)
    var shift = [Float](repeating: 0, count: n)
    for j in 0..<n {
      mean[j] /= Double(rows)
      guard mean[j].isFinite else {
        throw CetError(.numeric, "the patches hold a value that is not finite in column \(j)")
      }
      shift[j] = Float(mean[j])
    }
    ck_sub_row_strided_f32(x, stride, shift, values.pointer, rows, n)
    return ColumnMeans(mean: mean, values: values)
  }
}
