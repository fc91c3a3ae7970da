import CetFormats
import CetTensor
import Glibc

/// A tensor whose bytes lie in a file of their own (TensorProto.external_data), as the reader found it.
struct ExternalTensor {
  /// The contents of its TensorProto in the model file.
  let message: Range<Int>
  /// Where its data starts in that file.
  let offset: Int
  let data: HeldBytes
}

/// The data beside a model, by the locations that the model names. Each part is read once, however many tensors share it.
final class ExternalData {
  private final class Entry {
    let source: ModelSource
    var parts: [Range<Int>: HeldBytes] = [:]
    init(_ source: ModelSource) { self.source = source }
  }

  private let open: (String) throws(CetError) -> ModelSource
  private var entries: [String: Entry] = [:]

  init(open: @escaping (String) throws(CetError) -> ModelSource) { self.open = open }

  /// `length` bytes at `offset`; nil takes all the rest.
  func data(location: String, offset: Int, length: Int?) throws(CetError) -> HeldBytes {
    let entry = try self.entry(location)
    let size = entry.source.byteCount
    guard offset >= 0, offset <= size, length ?? 0 >= 0, length ?? 0 <= size - offset else {
      throw CetError(
        .invalidModel,
        "external data '\(location)' has \(size) bytes, offset \(offset) length \(length ?? 0) passes its end")
    }
    let range = offset..<(offset + (length ?? size - offset))
    if let known = entry.parts[range] { return known }
    let part = try HeldBytes(range, of: entry.source)
    entry.parts[range] = part
    return part
  }

  /// After the last tensor was read.
  func check() throws(CetError) {
    for (_, entry) in entries.sorted(by: { $0.key < $1.key }) {
      try entry.source.check(entry.parts.map { ($0.key.lowerBound, $0.value.bytes) })
    }
  }

  /// The files that were read.
  var marks: [FileMark] { entries.values.compactMap(\.source.mark) }

  private func entry(_ location: String) throws(CetError) -> Entry {
    if let known = entries[location] { return known }
    guard !location.isEmpty, !location.utf8.contains(0) else {
      throw CetError(.invalidModel, "external data has no usable location")
    }
    let entry = Entry(try open(location))
    entries[location] = entry
    return entry
  }
}

/// The folder of a model. A location must stay inside it: a model is data from elsewhere and must not make us read
/// `/etc/passwd` into somebody's weights.
struct ExternalDataFolder {
  private let folder: String
  /// Where a model that is a symbolic link really lies: download caches link the model and its data into one
  /// folder from another.
  private let linkedFolder: String

  /// `modelPath` is the path of an existing file.
  init(modelPath: String) throws(CetError) {
    let parent = modelPath.splitAtLastSlash.folder
    guard let resolved = resolvedPath(parent), let model = resolvedPath(modelPath) else {
      throw CetError(.io, "cannot find the folder of '\(modelPath)': \(systemErrorText())")
    }
    folder = resolved
    linkedFolder = model.splitAtLastSlash.folder
  }

  func open(_ location: String) throws(CetError) -> ModelSource {
    let slash = UInt8(ascii: "/")
    guard location.utf8.first != slash,
      !location.utf8.split(separator: slash).contains(where: { $0.elementsEqual("..".utf8) })
    else {
      throw CetError(.invalidModel, "external data '\(location)': expected a path inside the model's folder")
    }
    guard let resolved = resolvedPath(folder + "/" + location) else {
      throw CetError(.io, "cannot open external data '\(location)': \(systemErrorText())")
    }
    guard [folder, linkedFolder].contains(where: { resolved.utf8.starts(with: ($0 == "/" ? "/" : $0 + "/").utf8) })
    else {
      throw CetError(.invalidModel, "external data '\(location)' leads outside the model's folder, to '\(resolved)'")
    }
    return try FileSource(path: resolved, what: "external data")
  }
}
