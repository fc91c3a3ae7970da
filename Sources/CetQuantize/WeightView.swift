import CetTensor

/// A weight tensor as the matrix that its inputs see, one row an output channel and one column an entry of the
/// input patch, and the way back to the C order of the tensor.
public struct WeightView: Sendable {
  public let matrix: WeightMatrix
  private let name: String
  private let shape: [Int]
  private let axis: Int

  /// - Parameters:
  ///   - axis: of the output channels, inside the shape.
  ///   - values: in C order.
  public init(name: String, shape: [Int], axis: Int, _ values: [Float]) throws(CetError) {
    self.name = name
    self.shape = shape
    self.axis = axis
    let order = RowOrder(shape, axis: axis)
    guard values.count == shape.elementCount else {
      throw CetError(.shapeMismatch, "shape \(shape.shapeText) got \(values.count) values").at(.initializer(name))
    }
    matrix = try WeightMatrix(order.rowsFirst(values), rows: order.rows, columns: order.columns)
  }

  /// The quantized matrix in the C order of the tensor.
  public func assembled(_ quantized: QuantizedMatrix) throws(CetError) -> QuantizedTensor {
    let form = try QuantizedForm(
      name: name, shape: shape, bits: quantized.bits, axis: quantized.granularity == .perTensor ? nil : axis,
      blockSize: quantized.granularity.blockSize, zeroUnit: quantized.grid.zeroUnit, coding: quantized.coding)
    return try QuantizedTensor(
      form, codes: RowOrder(shape, axis: axis).tensorOrder(quantized.codes), scales: quantized.scales,
      zeroPoints: quantized.coding.hasZeroPoints ? quantized.zeroPoints : [])
  }
}
