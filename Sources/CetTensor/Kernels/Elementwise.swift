import CKernels

/// Elementwise float32 kernels over raw memory: the caller has checked that every array holds what the sizes say.
/// An output may be the same array as an operand. The bits of a result depend on the operands' values alone.
public enum Elementwise {
  public typealias Input = UnsafePointer<Float>
  public typealias Output = UnsafeMutablePointer<Float>

  public enum Unary: Sendable, Hashable, CaseIterable {
    case negate, absolute, squareRoot, reciprocal, relu, exp, log, tanh, sigmoid, erf
  }

  /// `maximum` and `minimum` give NaN when either operand is NaN.
  public enum Binary: Sendable, Hashable, CaseIterable {
    case add, subtract, multiply, divide, maximum, minimum
    /// b - a and b / a, for a broadcast first operand.
    case subtractFrom, divideInto

    /// The same operation with its operands exchanged.
    public var swapped: Binary {
      switch self {
      case .subtract: .subtractFrom
      case .subtractFrom: .subtract
      case .divide: .divideInto
      case .divideInto: .divide
      case .add, .multiply, .maximum, .minimum: self
      }
    }
  }

  /// out[i] = f(x[i])
  public static func apply(_ function: Unary, _ x: Input, into out: Output, count: Int) {
    guard count > 0 else { return }
    switch function {
    case .negate: ck_neg_f32(x, out, count)
    case .absolute: ck_abs_f32(x, out, count)
    case .squareRoot: ck_sqrt_f32(x, out, count)
    case .reciprocal: ck_reciprocal_f32(x, out, count)
    case .relu: ck_relu_f32(x, out, count)
    case .exp: ck_exp_f32(x, out, count)
    case .log: ck_log_f32(x, out, count)
    case .tanh: ck_tanh_f32(x, out, count)
    case .sigmoid: ck_sigmoid_f32(x, out, count)
    case .erf: ck_erf_f32(x, out, count)
    }
  }

  /// out[i] = a[i] op b[i]
  public static func apply(_ operation: Binary, _ a: Input, _ b: Input, into out: Output, count: Int) {
    guard count > 0 else { return }
    switch operation {
    case .add: ck_add_f32(a, b, out, count)
    case .subtract: ck_sub_f32(a, b, out, count)
    case .multiply: ck_mul_f32(a, b, out, count)
    case .divide: ck_div_f32(a, b, out, count)
    case .maximum: ck_max_f32(a, b, out, count)
    case .minimum: ck_min_f32(a, b, out, count)
    case .subtractFrom: ck_sub_f32(b, a, out, count)
    case .divideInto: ck_div_f32(b, a, out, count)
    }
  }

  /// out[r][j] = a[r][j] op b[j], with `b` of `columns` elements.
  public static func apply(_ operation: Binary, _ a: Input, row b: Input, into out: Output, rows: Int, columns: Int) {
    guard rows > 0, columns > 0 else { return }
    switch operation {
    case .add: ck_add_row_f32(a, b, out, rows, columns)
    case .subtract: ck_sub_row_f32(a, b, out, rows, columns)
    case .multiply: ck_mul_row_f32(a, b, out, rows, columns)
    case .divide: ck_div_row_f32(a, b, out, rows, columns)
    case .maximum: ck_max_row_f32(a, b, out, rows, columns)
    case .minimum: ck_min_row_f32(a, b, out, rows, columns)
    case .subtractFrom: ck_rsub_row_f32(a, b, out, rows, columns)
    case .divideInto: ck_rdiv_row_f32(a, b, out, rows, columns)
    }
  }

  /// out[r][j] = a[r][j] op b[r], with `b` of `rows` elements; one row makes `b` a scalar.
  public static func apply(
    _ operation: Binary, _ a: Input, column b: Input, into out: Output, rows: Int, columns: Int
  ) {
    guard rows > 0, columns > 0 else { return }
    switch operation {
    case .add: ck_add_column_f32(a, b, out, rows, columns)
    case .subtract: ck_sub_column_f32(a, b, out, rows, columns)
    case .multiply: ck_mul_column_f32(a, b, out, rows, columns)
    case .divide: ck_div_column_f32(a, b, out, rows, columns)
    case .maximum: ck_max_column_f32(a, b, out, rows, columns)
    case .minimum: ck_min_column_f32(a, b, out, rows, columns)
    case .subtractFrom: ck_rsub_column_f32(a, b, out, rows, columns)
    case .divideInto: ck_rdiv_column_f32(a, b, out, rows, columns)
    }
  }

  /// out[i] = a[i] op b
  public static func apply(_ operation: Binary, _ a: Input, scalar b: Float, into out: Output, count: Int) {
    withUnsafePointer(to: b) { apply(operation, a, column: $0, into: out, rows: 1, columns: count) }
  }

  public enum Relation: Sendable, Hashable, CaseIterable {
    case equal, less, lessOrEqual, greater, greaterOrEqual
  }

  /// out[i] = a[i] relation b[i], 0 or 1; false when either is NaN.
  public static func compare(
    _ relation: Relation, _ a: Input, _ b: Input, into out: UnsafeMutablePointer<UInt8>, count: Int
  ) {
    guard count > 0 else { return }
    switch relation {
    case .equal: ck_equal_f32(a, b, out, count)
    case .less: ck_less_f32(a, b, out, count)
    case .lessOrEqual: ck_less_equal_f32(a, b, out, count)
    case .greater: ck_greater_f32(a, b, out, count)
    case .greaterOrEqual: ck_greater_equal_f32(a, b, out, count)
    }
  }

  /// out[i] = a[i] relation b
  public static func compare(
    _ relation: Relation, _ a: Input, scalar b: Float, into out: UnsafeMutablePointer<UInt8>, count: Int
  ) {
    guard count > 0 else { return }
    switch relation {
    case .equal: ck_equal_scalar_f32(a, b, out, count)
    case .less: ck_less_scalar_f32(a, b, out, count)
    case .lessOrEqual: ck_less_equal_scalar_f32(a, b, out, count)
    case .greater: ck_greater_scalar_f32(a, b, out, count)
    case .greaterOrEqual: ck_greater_equal_scalar_f32(a, b, out, count)
    }
  }

  /// out[i] = condition[i] ? a[i] : b[i]; `b` nil stands for zeros.
  public static func select(_ condition: UnsafePointer<UInt8>, _ a: Input, _ b: Input?, into out: Output, count: Int) {
    guard count > 0 else { return }
    if let b { ck_select_f32(condition, a, b, out, count) } else { ck_mask_f32(condition, a, out, count) }
  }

  /// out[i] = a[i] & b[i]
  public static func and(
    _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, into out: UnsafeMutablePointer<UInt8>, count: Int
  ) {
    if count > 0 { ck_and_u8(a, b, out, count) }
  }

  /// out[i] = x[i] > 0 ? g[i] : 0, the derivative of relu; 0 at the kink.
  public static func reluMask(_ x: Input, _ g: Input, into out: Output, count: Int) {
    if count > 0 { ck_relu_mask_f32(x, g, out, count) }
  }

  /// y[i] += x[i]
  public static func accumulate(_ x: Input, into y: Output, count: Int) {
    if count > 0 { ck_accumulate_f32(x, y, count) }
  }

  /// y[i] += x[i] in double.
  public static func accumulate(_ x: Input, into y: UnsafeMutablePointer<Double>, count: Int) {
    if count > 0 { ck_accumulate_wide_f32(x, y, count) }
  }

  /// y[i] = x[i] in double, as added to 0: never −0.
  public static func widen(_ x: Input, into y: UnsafeMutablePointer<Double>, count: Int) {
    if count > 0 { ck_widen_f32(x, y, count) }
  }

  /// y[i] += x[i]
  public static func accumulate(_ x: UnsafePointer<Double>, into y: UnsafeMutablePointer<Double>, count: Int) {
    if count > 0 { ck_accumulate_f64(x, y, count) }
  }

  /// y[i] = factor * x[i], rounded once.
  public static func narrow(_ x: UnsafePointer<Double>, times factor: Double, into y: Output, count: Int) {
    if count > 0 { ck_narrow_f32(factor, x, y, count) }
  }
}

/// Sums and row functions of float32 arrays. Sums run in double, in an order that depends on the sizes alone.
public enum Reduction {
  public typealias Input = UnsafePointer<Float>
  public typealias Output = UnsafeMutablePointer<Float>

  /// Whether no number is NaN or infinite.
  public static func isFinite(_ x: Input, count: Int) -> Bool { count <= 0 || ck_finite_f32(x, count) }

  public static func dot(_ x: Input, _ y: Input, count: Int) -> Double { count > 0 ? ck_dot_f32(x, y, count) : 0 }

  /// out[r] = sum over j of x[r][j]
  public static func sumRows(_ x: Input, into out: Output, rows: Int, columns: Int) {
    if rows > 0 { ck_sum_rows_f32(x, out, rows, max(columns, 0)) }
  }

  /// out[j] = sum over r of x[r * rowStride + j]
  public static func sumColumns(_ x: Input, rowStride: Int, into out: Output, rows: Int, columns: Int) {
    if columns > 0 { ck_sum_columns_f32(x, rowStride, out, max(rows, 0), columns) }
  }

  /// out[r][j] = e^x[r][j] / sum over i of e^x[r][i]
  public static func softmaxRows(_ x: Input, into out: Output, rows: Int, columns: Int) {
    if rows > 0, columns > 0 { ck_softmax_rows_f32(x, out, rows, columns) }
  }

  /// y = (x − mean)·r and r = 1/√(variance + epsilon) of every row.
  public static func standardizeRows(_ x: Input, into y: Output, inverse r: Output, epsilon: Double, rows: Int, columns: Int) {
    if rows > 0, columns > 0 { ck_standardize_rows_f32(epsilon, x, y, r, rows, columns) }
  }

  /// out[r][j] = x[r][j] - ln(sum over i of e^x[r][i])
  public static func logSoftmaxRows(_ x: Input, into out: Output, rows: Int, columns: Int) {
    if rows > 0, columns > 0 { ck_log_softmax_rows_f32(x, out, rows, columns) }
  }
}
