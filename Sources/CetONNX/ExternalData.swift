import CetFormats
import CetTensor
import Glibc

/// A tensor whose bytes lie in a file of their own (TensorProto.external_data), as the reader found it.
struct ExternalTensor {
  /// The contents of its TensorProto in the model file.
  let message: Range<Int>
  let data: UnsafeRawBufferPointer
  let file: FileBytes
}

/// The files beside a model that hold tensor data. A location must stay inside the model's folder: a model
/// is data from elsewhere and must not make us read `/etc/passwd` into somebody's weights.
final class ExternalDataFolder {
  private let folder: String
  /// Where a model that is a symbolic link really lies: download caches link the model and its data into one
  /// folder from another.
  private let linkedFolder: String
  private var files: [String: FileBytes] = [:]

  /// `modelPath` is the path of an existing file.
  init(modelPath: String) throws(CetError) {
    let parent = modelPath.splitAtLastSlash.folder
    guard let resolved = resolvedPath(parent), let model = resolvedPath(modelPath) else {
      throw CetError(.io, "cannot find the folder of '\(modelPath)': \(systemErrorText())")
    }
    folder = resolved
    linkedFolder = model.splitAtLastSlash.folder
  }

  /// `length` bytes at `offset`; nil takes all the rest of the file.
  func data(location: String, offset: Int, length: Int?) throws(CetError) -> (UnsafeRawBufferPointer, FileBytes) {
    let file = try self.file(location)
    let size = file.bytes.count
    guard offset >= 0, offset <= size, length ?? 0 >= 0, length ?? 0 <= size - offset else {
      throw CetError(
        .invalidModel,
        "external data '\(location)' has \(size) bytes, offset \(offset) length \(length ?? 0) passes its end")
    }
    return (file.slice(offset..<(offset + (length ?? size - offset))), file)
  }

  private func file(_ location: String) throws(CetError) -> FileBytes {
    if let known = files[location] { return known }
    guard !location.isEmpty, !location.utf8.contains(0) else {
      throw CetError(.invalidModel, "external data has no usable location")
    }
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
    let file = try FileBytes(mapping: resolved, what: "external data")
    files[location] = file
    return file
  }
}
