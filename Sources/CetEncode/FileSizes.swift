import CetLayers
import CetONNX
import CetQuantize
import CetTensor

/// Sizes of written files and tensors before any code is computed: they depend on shapes and bits alone. A class, because
/// copies of so large a value are long code.
public final class FileSizes: Sendable {
  private let found: LinearLayers
  private let file: ModelFile
  private let encoding: Encoding
  private let granularity: Granularity
  private let runtime: Runtime?
  private let place: ModelWriter.Place
  private let activations: [WrittenActivation]
  /// Layers whose codes of 8 bits the file holds, by name.
  private let integers: Set<String>

  /// - Parameter activations: those that are rounded while the model runs.
  public init(
    _ found: LinearLayers, of file: ModelFile, encoding: Encoding, granularity: Granularity, runtime: Runtime? = nil,
    activations: [WrittenActivation] = [], place: ModelWriter.Place = .inside
  ) {
    self.place = place
    self.activations = activations
    integers = Set((encoding.holdsIntegers ? activations.integerLayers(found.layers) : [:]).keys.map { found.layers[$0].name })
    self.runtime = runtime
    self.found = found
    self.file = file
    self.encoding = encoding
    self.granularity = granularity
  }

  /// Codes alone, and with scales and zero points, of a tensor of this shape and quantization axis.
  /// - Parameters:
  ///   - layer: whose weight it is; nil: its matrix may be padded for a kernel by bytes that are not counted.
  ///   - runtime: the oldest that the file must open in.
  ///   - isInteger: whether it stands in the file as codes of 8 bits, whatever its own are.
  public static func storedBytes(
    _ shape: [Int], axis: Int?, _ format: CodeFormat, granularity: Granularity, encoding: Encoding, layer: LinearLayer? = nil,
    runtime: Runtime? = nil, isInteger: Bool = false
  ) -> (codes: Int, stored: Int) {
    if isInteger {
      let order = RowOrder(shape, axis: axis)
      return (shape.elementCount, shape.elementCount + 4 * order.rows)
    }
    let order = RowOrder(shape, axis: granularity == .perTensor ? nil : axis)
    if encoding == .ort, let layer, let bytes = KernelEncoding.storedBytes(layer, format, granularity, runtime) { return bytes }
    let blocks = axis == nil ? 1 : order.blockCount(size: granularity.blockSize)
    let bytes = encoding.rules.storedBytes(rows: order.rows, columns: order.columns, blocks: blocks, format)
    // The last block of a row is filled up.
    let whole = blocks > 1 ? .saturatingProduct(blocks, granularity.blockSize) : order.columns
    let filled = encoding.rules.fillsBlocks && !format.coding.isTrellis
      ? encoding.rules.storedBytes(rows: order.rows, columns: whole, blocks: blocks, format).codes : bytes.codes
    return (bytes.codes, .saturatingSum(filled, bytes.grids))
  }

  /// Bytes of a layer's codes, and of codes and grids.
  public func storedBytes(_ layer: LinearLayer, _ format: CodeFormat) -> (codes: Int, stored: Int) {
    FileSizes.storedBytes(
      layer.shape, axis: granularity == .perTensor && integers.contains(layer.name) ? nil : layer.axis, format, granularity: granularity,
      encoding: encoding, layer: layer, runtime: runtime, isInteger: integers.contains(layer.name))
  }

  /// The whole file when layer i has `formats[i]` (nil: unchanged), exactly.
  /// - Parameters:
  ///   - addsBias: whether a layer that has input statistics gets a bias; true at most.
  ///   - metadata: what the file will say about itself, in as many bytes.
  public func bytes(_ formats: [CodeFormat?], addsBias: (Int) -> Bool, metadata: [(key: String, value: String)]) throws(CetError) -> Int {
    let grid = encoding.codeRules(granularity)
    var contents: [Int: LayerContent] = [:]
    for (index, layer) in found.layers.enumerated() {
      guard let format = formats[index] else { continue }
      let form = try grid.form(name: layer.name, shape: layer.shape, axis: layer.axis, format)
      contents[index] = LayerContent(sizeOf: form, biasCount: layer.usesStatistics && addsBias(index) ? layer.channels : nil)
    }
    let rewriting = Rewriting(found, original: file.model, biasNames: found.layers.map(\.biasName))
    return try ModelWriter.size(edit: rewriting.edit(contents, activations: activations, encoding: encoding, runtime: runtime, metadata: metadata), of: file, place: place)
  }
}
