import CetFormats
import CetSpectral
import CetTensor
import Glibc

/// The state of a solve after its latest restart, as a file.
struct EigensolveStateFile {
  private static let magic = "CETEIGS1"
  let path: String
  /// What state and solve must agree in.
  let identity: Fingerprint
  let dimension: Int
  let type: BasisType

  /// Goes on from the file if there is one, and writes it after every restart.
  func checkpoint() throws(CetError) -> EigensolveCheckpoint {
    guard let file = try RecordFile.Reader.open(path: path, magic: EigensolveStateFile.magic, what: "state file") else {
      return EigensolveCheckpoint(resume: nil, fill: { _ in }, save: save)
    }
    let header = file.header
    let found: Fingerprint
    do { found = try Fingerprint(header.required("solve")) } catch { throw file.damage(error) }
    if let difference = found.difference(from: identity) {
      throw CetError(.invalidArgument, "state file '\(path)' belongs to another solve: \(difference)")
    }
    let state: EigensolveState
    do {
      let limit = 1 << 40
      let projection = try file.array(0.0, count: header.required("projection").integer(0...limit))
      let gram = try file.array(0.0, count: header.required("gram").integer(0...limit))
      let checked = try file.array(0.0, count: header.required("checked").integer(0...limit))
      let isChecked = try header.required("is_checked").integer(0...1) == 1
      guard let random = Random(saved: try file.array(UInt64(0), count: 6)) else { throw damaged() }
      state = EigensolveState(
        projection: projection, gram: gram, size: try header.required("size").integer(0...limit),
        pending: try header.required("pending").integer(0...limit),
        applies: try header.required("applies").integer(0...limit),
        restarts: try header.required("restarts").integer(0...limit), checked: isChecked ? checked : nil,
        random: random)
    } catch { throw file.damage(CetError(error)) }
    let vectors = (state.size + state.pending).multipliedReportingOverflow(by: dimension * type.byteCount)
    guard !vectors.overflow, vectors.partialValue == file.remaining else { throw damaged() }
    return EigensolveCheckpoint(
      resume: state,
      fill: { buffer throws(CetError) in
        try file.read(into: buffer)
        if file.remaining == 0 { try file.finish() }
      }, save: save)
  }

  private func damaged() -> CetError { CetError(.io, "state file '\(path)' is damaged") }

  private func save(_ state: EigensolveState) throws(CetError) {
    let header = JSON.object([
      .init("solve", identity.json), .init("size", .integer(state.size)), .init("pending", .integer(state.pending)),
      .init("applies", .integer(state.applies)), .init("restarts", .integer(state.restarts)),
      .init("projection", .integer(state.projection.count)), .init("gram", .integer(state.gram.count)),
      .init("is_checked", .integer(state.checked == nil ? 0 : 1)), .init("checked", .integer(state.checked?.count ?? 0)),
    ])
    let file = try RecordFile.Writer(path: path, magic: EigensolveStateFile.magic, header: header)
    try file.add(state.projection)
    try file.add(state.gram)
    try file.add(state.checked ?? [])
    try file.add(state.random.saved)
    try state.eachPiece(file.add)
    try file.finish()
  }

  /// A solve that has ended needs no state.
  func remove() { unlink(path) }
}
