import CetLayers

/// What a caller should know of an encoding before trusting the figures.
enum EncodingNotes {
  /// Runtimes replace DequantizeLinear in front of a matrix product by a kernel that rounds the activations as well: measured
  /// in ONNX Runtime 1.32, the output's error at 8 bits grows by half to twice.
  static func kernels(_ layers: [LinearLayer], _ encoding: Encoding) -> [String] {
    let products = layers.count { layer in
      if case .matrix = layer.kind { ["MatMul", "Gemm"].contains(layer.node.operatorType) } else { false }
    }
    guard encoding == .qdq, products > 0 else { return [] }
    return [
      "encoding qdq: onnxruntime's default computes \(products) matrix product\(products == 1 ? "" : "s") with 8-bit activations; the losses told are those of float activations, which the session option session.qdq_matmulnbits_accuracy_level=1 keeps"
    ]
  }
}
