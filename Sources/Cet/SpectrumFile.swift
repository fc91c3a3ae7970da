import CetFormats
import CetSpectral
import CetTensor

/// Spectra as files (docs/spectrum-file.md).
extension Spectrum {
  private static let magic = "CETSPEC1"

  /// The file appears complete or not at all.
  public func save(path: String) throws(CetError) {
    let header = JSON.object([
      .init("library_version", .string(CompressionPlan.libraryVersion)),
      .init("which", .string(which.rawValue)), .init("dimension", .integer(pairs.dimension)),
      .init("count", .integer(pairs.count)), .init("vector_type", .string(pairs.vectors.type.rawValue)),
      .init("applies", .integer(pairs.applies)), .init("restarts", .integer(pairs.restarts)),
      .init("krylov_dimension", .integer(pairs.krylovDimension)), .init("tolerance", .double(tolerance)),
      .init("fingerprint", fingerprint.json),
    ])
    let file = try RecordFile.Writer(path: path, magic: Spectrum.magic, header: header)
    try FileWatch.expect(pairs.count * (17 + pairs.dimension * pairs.vectors.type.byteCount), .writing)
    try file.add(pairs.values)
    try file.add(pairs.residualNorms)
    try file.add(pairs.converged.map { $0 ? UInt8(1) : 0 })
    for index in 0..<pairs.count { try pairs.vectors.eachPiece(of: index) { piece throws(CetError) in try file.add(piece) } }
    try file.finish()
  }

  public init(path: String) throws(CetError) {
    guard let file = try RecordFile.Reader.open(path: path, magic: Spectrum.magic, what: "spectrum file") else {
      throw CetError(.io, "cannot read '\(path)': \(systemErrorText())")
    }
    let header = file.header
    let n: Int, count: Int, type: BasisType, applies: Int, restarts: Int, krylovDimension: Int
    do {
      which = try header.required("which").choice()
      n = try header.required("dimension").integer(1...(1 << 40))
      count = try header.required("count").integer(0...(1 << 31))
      type = try header.required("vector_type").choice()
      applies = try header.required("applies").integer(0...Int.max)
      restarts = try header.required("restarts").integer(0...Int.max)
      krylovDimension = try header.required("krylov_dimension").integer(0...Int.max)
      tolerance = try header.required("tolerance").double()
      fingerprint = try Fingerprint(header.required("fingerprint"))
    } catch { throw file.damage(error) }
    let each = 17 + n * type.byteCount
    guard count <= n, file.remaining % each == 0, file.remaining / each == count else {
      throw CetError(.io, "spectrum file '\(path)' is damaged: \(count) pairs of dimension \(n) need other sizes")
    }
    let values = try file.array(0.0, count: count)
    let residualNorms = try file.array(0.0, count: count)
    let converged = try file.array(UInt8(0), count: count).map { $0 != 0 }
    let vectors = try Eigenvectors(dimension: n, count: count, type: type) { piece throws(CetError) in try file.read(into: piece) }
    try file.finish()
    for value in values + residualNorms where !value.isFinite {
      throw CetError(.io, "spectrum file '\(path)' is damaged: it holds \(value)")
    }
    pairs = Eigenpairs(
      dimension: n, values: values, vectors: vectors, residualNorms: residualNorms, converged: converged, applies: applies,
      restarts: restarts, krylovDimension: krylovDimension)
  }
}
