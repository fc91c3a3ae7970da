import CetFormats
import CetGraph
import CetTensor

/// Writes edited models. What an edit does not name is copied from the source file byte for byte.
///
/// A written model stands alone: tensors that the source keeps in external files are written into the model,
/// so the output opens from any folder and its size is all there is. Only when that is asked for, or the result would pass
/// protobuf's 2 GiB, do large tensors go to one new file beside the output, `<file name>.data`.
public enum ModelWriter {
  /// Where large tensors are written.
  public enum Place: Sendable, Equatable {
    /// In the model, if that stays below 2 GiB.
    case inside
    /// In a file beside it.
    case beside
  }

  /// The most that protobuf, and so every ONNX reader, accepts in one file.
  public static let maximumByteCount = Int(Int32.max)

  /// The edited model's file as bytes. A result over 2 GiB is an error: bytes have no file beside them.
  public static func write(edit: ModelEdit, of file: ModelFile) throws(CetError) -> [UInt8] {
    try write(edit: edit, of: file, limit: maximumByteCount)
  }

  static func write(edit: ModelEdit, of file: ModelFile, limit: Int) throws(CetError) -> [UInt8] {
    try check(edit, of: file.model)
    let output = try plan(edit, of: file, .inside, externalLocation: longestLocation, limit: limit)
    guard output.data == nil else {
      throw CetError(
        .invalidArgument,
        "the model has more than the \(limit) bytes that one ONNX file holds: save it to a path, its large tensors then go to a file beside it")
    }
    return Array(output.model)
  }

  /// Writes the edited model to `path`, replacing what is there in one step: an error leaves the old file,
  /// or none. A file that the model was read from is never replaced.
  public static func write(edit: ModelEdit, of file: ModelFile, toFile path: String) throws(CetError) {
    try layOut(edit: edit, of: file, toFile: path).write()
  }

  /// The edited model as `write` puts it at `path`, before anything is written.
  public static func layOut(
    edit: ModelEdit, of file: ModelFile, toFile path: String, place: Place = .inside
  ) throws(CetError) -> LaidOutModel {
    try layOut(edit: edit, of: file, toFile: path, place: place, limit: maximumByteCount)
  }

  /// Bytes that `write` would write, external data included: exactly, but for results with a file beside them without a path, where
  /// the longest file name is counted, which every large tensor has beside it. Whether the edited model is valid is found by writing.
  public static func size(
    edit: ModelEdit, of file: ModelFile, toFile path: String? = nil, place: Place = .inside
  ) throws(CetError) -> Int {
    try size(edit: edit, of: file, toFile: path, place: place, limit: maximumByteCount)
  }

  static func size(
    edit: ModelEdit, of file: ModelFile, toFile path: String?, place: Place = .inside, limit: Int
  ) throws(CetError) -> Int {
    let output = try plan(edit, of: file, place, externalLocation: path.map(externalLocation) ?? longestLocation, limit: limit)
    return output.model.byteCount + (output.data?.byteCount ?? 0)
  }

  /// Linux has no longer file names.
  private static let longestLocation = String(repeating: "m", count: 255)

  /// The file of a model that was made in memory. Strings, and values of kinds that `Model` does not keep,
  /// cannot be written.
  public static func write(_ model: Model) throws(CetError) -> [UInt8] {
    try GraphCheck.check(model)
    var encoder = MessageEncoder()
    let output = try encoder.model(model)
    try checkSize(output, limit: maximumByteCount)
    return Array(output)
  }

  static func write(edit: ModelEdit, of file: ModelFile, toFile path: String, limit: Int) throws(CetError) {
    try layOut(edit: edit, of: file, toFile: path, limit: limit).write()
  }

  private static func layOut(
    edit: ModelEdit, of file: ModelFile, toFile path: String, place: Place = .inside, limit: Int
  ) throws(CetError) -> LaidOutModel {
    let target = try PendingFile.target(of: path)
    try check(edit, of: file.model)
    let output = try plan(edit, of: file, place, externalLocation: externalLocation(target), limit: limit)
    return LaidOutModel(file: file, target: target, model: output.model, data: output.data)
  }

  private static func externalLocation(_ path: String) -> String { path.splitAtLastSlash.name + LaidOutModel.externalSuffix }

  private static func plan(
    _ edit: ModelEdit, of file: ModelFile, _ place: Place, externalLocation: String, limit: Int
  ) throws(CetError) -> (model: WireWriter, data: WireWriter?) {
    if place == .inside {
      var inline = ModelRewriter(file: file, edit: edit, externalLocation: nil)
      let whole = try inline.rewritten()
      guard whole.byteCount > limit else { return (whole, nil) }
    }
    var split = ModelRewriter(file: file, edit: edit, externalLocation: externalLocation)
    let model = try split.rewritten()
    try checkSize(model, limit: limit)
    let data = split.externalData
    return (model, data?.byteCount == 0 ? nil : data)
  }

  private static func checkSize(_ output: WireWriter, limit: Int) throws(CetError) {
    guard output.byteCount <= limit else {
      throw CetError(
        .invalidArgument, "the model has \(output.byteCount) bytes without its large tensors, an ONNX file holds at most \(limit)")
    }
  }

  /// An edit that does not fit the model, or would leave a graph no runtime accepts, is found before writing.
  private static func check(_ edit: ModelEdit, of model: Model) throws(CetError) {
    if !edit.replacedNodes.isEmpty {
      let made = Set(model.graph.nodes.flattened.map(\.firstOutput))
      for name in edit.replacedNodes.keys.sorted() where !made.contains(name) {
        throw CetError(.invalidArgument, "the edit replaces the node that makes '\(name)', the graph has none")
      }
    }
    var names: Set<String> = []
    for initializer in edit.initializers where !names.insert(initializer.name).inserted {
      throw CetError(.invalidArgument, "the edit gives initializer '\(initializer.name)' twice").with(.initializer, initializer.name)
    }
    do {
      try GraphCheck.check(edit.applied(to: model))
    } catch {
      throw CetError(.invalidArgument, "the edited model is not valid: \(error.message)")
    }
  }
}

/// An edited model as it will stand at a path. It refers to the source's bytes and to the edit's tensors and copies neither, so
/// that it may wait while what it will write is checked.
public struct LaidOutModel {
  static let externalSuffix = ".data"
  fileprivate let file: ModelFile
  fileprivate let target: String
  fileprivate let model: WireWriter
  fileprivate let data: WireWriter?

  /// The file's bytes; nil where large tensors go to a file beside it.
  public func bytes() -> [UInt8]? { data == nil ? Array(model) : nil }

  /// Replaces what is at the path in one step: an error leaves the old file, or none.
  /// - Parameters:
  ///   - check: asked while bytes are written; throws to stop.
  ///   - complete: the last thing before the file takes its place; throws to stop.
  public func write(
    _ check: () throws(CetError) -> Void = { () throws(CetError) in },
    complete: () throws(CetError) -> Void = { () throws(CetError) in }
  ) throws(CetError) {
    try checkSource(target)
    let dataTarget = target + LaidOutModel.externalSuffix
    if data != nil { try checkSource(dataTarget) }
    // Also for a model that needs no such file: one that was killed may have needed it.
    PendingFile.removeOrphans(of: dataTarget)
    let pending = try PendingFile(target)
    try pending.write(model, check)
    guard let data else {
      try complete()
      return try pending.commit()
    }
    let beside = try PendingFile(PendingFile.target(of: dataTarget))
    try beside.write(data, check)
    try complete()
    try beside.commit { () throws(CetError) in try pending.commit() }
  }

  private func checkSource(_ path: String) throws(CetError) {
    guard !file.reads(path: path) else {
      throw CetError(.invalidArgument, "cannot write '\(path)': the model was loaded from this file")
    }
  }
}
