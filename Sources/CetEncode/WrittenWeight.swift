import CetLayers
import CetQuantize
import CetTensor

/// What a file gets for one layer. Without codes it is what takes as much room: the size of a file is known before its codes
/// are.
public struct LayerContent: Sendable {
  let form: QuantizedForm
  /// nil: only the size counts.
  let tensor: QuantizedTensor?
  let bias: [Float]?

  public init(_ layer: QuantizedLayer) {
    form = layer.tensor.form
    tensor = layer.tensor
    bias = layer.bias
  }

  /// - Parameter biasCount: values of the bias; nil: it stays as it is.
  public init(sizeOf form: QuantizedForm, biasCount: Int?) {
    self.form = form
    tensor = nil
    bias = biasCount.map { [Float](repeating: 0, count: $0) }
  }
}

/// A weight as encodings take it.
struct WrittenWeight {
  let form: QuantizedForm
  /// nil: only the size counts.
  let tensor: QuantizedTensor?
  /// In the file: float32, or a 16-bit float.
  var elementType = ElementType.float32
  /// Whether something else than a layer reads it, such as Transpose.
  var isMoved = false
  /// Whether the file rounds activations.
  var isBesideCodes = false
  /// nil: only the form counts.
  var layer: LinearLayer?

  init(_ content: LayerContent, of layer: LinearLayer) {
    form = content.form
    tensor = content.tensor
    elementType = layer.elementType
    isMoved = layer.isMoved
    self.layer = layer
  }

  /// Widths at which a kernel computes with it.
  func kernelWidths(_ runtime: Runtime) -> Set<Int> {
    guard let layer, form.axis == layer.axis, form.zeroUnit == 1, !form.coding.isTrellis, elementType != .float16 || hasNarrowScales else {
      return []
    }
    return KernelEncoding.kernelWidths(layer, form.blockSize > 0 ? .block(form.blockSize) : .perAxis, runtime)
  }

  /// Whether float16 has every scale, as it has those of a plan for kernels.
  private var hasNarrowScales: Bool {
    tensor?.scales.allSatisfy { HalfPrecision.float(fromHalf: HalfPrecision.half(from: $0)) == $0 } ?? true
  }

  /// Scales in the type of the weight.
  func filledScales(_ shape: [Int]) throws(CetError) -> Tensor {
    guard elementType == .float16 else { return try filled(.float32, shape) { $0.scales } }
    return try filled(.float16, shape) { $0.scales.map(HalfPrecision.half(from:)) }
  }

  init(_ tensor: QuantizedTensor) {
    form = tensor.form
    self.tensor = tensor
  }

  private init(form: QuantizedForm, tensor: QuantizedTensor?) {
    self.form = form
    self.tensor = tensor
  }

  /// Weights whose forms differ in the length of their axis alone, as one of float32.
  static func joined(_ weights: [WrittenWeight], name: String) throws(CetError) -> WrittenWeight {
    let tensors = weights.compactMap(\.tensor)
    if tensors.count == weights.count {
      let joined = try QuantizedTensor.joined(tensors, name: name)
      return WrittenWeight(form: joined.form, tensor: joined)
    }
    return WrittenWeight(form: try QuantizedForm.joined(weights.map(\.form), name: name), tensor: nil)
  }

  /// A tensor of the elements that `make` gives, which are as wide as the type's; unfilled where only the size counts.
  func filled<Element: TensorElement>(
    _ type: ElementType, _ shape: [Int], _ make: (QuantizedTensor) -> [Element]
  ) throws(CetError) -> Tensor {
    guard let tensor else { return try Tensor(uninitialized: type, shape) }
    return try Tensor(type: type, shape: shape, storage: Tensor(make(tensor), shape: shape).storage)
  }
}
