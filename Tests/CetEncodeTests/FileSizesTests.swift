import CetLayers
import CetONNX
import CetQuantize
import CetTensor
import Testing

@testable import CetEncode

@Suite struct FileSizesTests {
  private static let metadata = [(key: "ai.libcet.plan", value: "{}")]

  /// What is computed without codes against the file that the writer makes of them.
  @Test(arguments: Encoding.allCases, [Granularity.perTensor, .perAxis, .block(4), .block(100)])
  func bytes_areThoseOfTheWrittenFile(_ encoding: Encoding, _ granularity: Granularity) throws {
    let sample = try SampleLayers()
    let sizes = FileSizes(sample.found, of: sample.file, encoding: encoding, granularity: granularity)
    for (bits, coding) in (1...8).flatMap({ bits in CodingPolicy.allCases.map { (bits, $0) } }) {
      let quantized = try sample.quantized(encoding, granularity, bits: bits, coding: coding)
      let layers = quantized.mapValues { LayerContent($0) }
      let written = try ModelWriter.write(
        edit: sample.rewriting.edit(layers, encoding: encoding, metadata: Self.metadata), of: sample.file)
      let formats = sample.found.layers.indices.map { quantized[$0]?.tensor.format }
      #expect(try sizes.bytes(formats, addsBias: { _ in true }, metadata: Self.metadata) == written.count)
    }
  }

  @Test func bytes_ofNothingQuantized_areTheFilesAndItsMetadata() throws {
    let sample = try SampleLayers()
    let sizes = FileSizes(sample.found, of: sample.file, encoding: .planes, granularity: .perAxis)
    let bytes = try sizes.bytes(sample.found.layers.map { _ in nil }, addsBias: { _ in true }, metadata: [])
    #expect(bytes == sample.file.byteCount)
  }

  @Test func storedBytes_countCodesAndGrids() {
    func stored(_ encoding: Encoding, _ granularity: Granularity, bits: Int, axis: Int? = 1, coding: Coding = .affine) -> [Int] {
      let bytes = FileSizes.storedBytes(
        [6, 10], axis: axis, CodeFormat(bits: bits, coding: coding), granularity: granularity, encoding: encoding)
      return [bytes.codes, bytes.stored]
    }
    // 60 codes; 1, 10 or 10 · 2 grids of 4 + 1 bytes. Rows of 6 in blocks of 4 are filled up to 8.
    #expect(stored(.planes, .perTensor, bits: 3) == [23, 28])
    #expect(stored(.planes, .perAxis, bits: 3) == [23, 73])
    #expect(stored(.planes, .perAxis, bits: 3, axis: nil) == [23, 28])
    #expect(stored(.planes, .block(4), bits: 2) == [15, 120])
    #expect(stored(.float, .block(4), bits: 2) == [15, 115])
    // No zero points with a trellis.
    #expect(stored(.planes, .perAxis, bits: 3, coding: .trellis(.small)) == [30, 70])
    // Doubled codes of 3 bits, and zero points, lie in 4 bits.
    #expect(stored(.qdq, .perAxis, bits: 3) == [30, 75])
    #expect(stored(.qdq, .perAxis, bits: 2) == [15, 58])
    #expect(stored(.qdq, .perAxis, bits: 5) == [60, 110])
  }

  /// A plan's document may name any shape; nothing overflows.
  @Test func storedBytes_ofEmptyShapes_doNotOverflow() {
    let bytes = FileSizes.storedBytes([1 << 40, 0, 1 << 40], axis: 1, CodeFormat(bits: 3), granularity: .block(4), encoding: .planes)
    #expect(bytes.codes == 0 && bytes.stored == 0)
    let trellis = CodeFormat(bits: 5, coding: .trellis(.large))
    #expect(FileSizes.storedBytes([1 << 40, 0], axis: 0, trellis, granularity: .perAxis, encoding: .planes).codes == 0)
    #expect(FileSizes.storedBytes([1 << 60, 3], axis: 0, trellis, granularity: .perAxis, encoding: .planes).codes == 5 << 60)
    #expect(FileSizes.storedBytes([1, .max], axis: 0, trellis, granularity: .perAxis, encoding: .planes).codes == .max / 8 * 5 + 5)
  }
}
