import CCet
import CDLPack
import Cet
import CetTensor

// MARK: In

@implementation @_cdecl("cet_tensor_from_dlpack")
public func cet_tensor_from_dlpack(
  _ array: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ tensor: UnsafeMutablePointer<cet_tensor>?
) -> cet_status {
  boundary {
    let tensor = try required(tensor, "tensor")
    tensor.pointee = cet_tensor()
    let array = UnsafePointer<cdl_managed_versioned>(try required(array, "array")).pointee
    guard array.major == 1 else {
      throw CetError(.invalidArgument, "a DLPack array", expected: "version 1", got: "\(array.major).\(array.minor)")
    }
    tensor.pointee = try view(array.tensor, name)
  }
}

@implementation @_cdecl("cet_tensor_from_dlpack_unversioned")
public func cet_tensor_from_dlpack_unversioned(
  _ array: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ tensor: UnsafeMutablePointer<cet_tensor>?
) -> cet_status {
  boundary {
    let tensor = try required(tensor, "tensor")
    tensor.pointee = cet_tensor()
    tensor.pointee = try view(UnsafePointer<cdl_managed>(try required(array, "array")).pointee.tensor, name)
  }
}

/// Borrows shape and elements.
private func view(_ array: cdl_tensor, _ name: UnsafePointer<CChar>?) throws(CetError) -> cet_tensor {
  let subject = "the DLPack array" + (try name.map { chars throws(CetError) in " '\(try text(chars, "name"))'" } ?? "")
  guard array.device.device_type == 1 else {
    throw CetError(.invalidArgument, subject, expected: "device 1 (CPU)", got: "device \(array.device.device_type)")
  }
  guard let type = DLPackTypes.elementType(array.dtype) else {
    let dtype = array.dtype
    let got = "code \(dtype.code), \(dtype.bits) bits, \(dtype.lanes) lanes"
    throw CetError(.invalidArgument, subject, expected: "a type of the library", got: got)
  }
  guard (0...64).contains(array.ndim) else {
    throw CetError(.invalidArgument, subject, expected: "0 to 64 axes", got: "\(array.ndim)")
  }
  guard array.ndim == 0 || array.shape != nil else { throw invalid("\(subject) has \(array.ndim) axes and shape NULL") }
  let sizes = (0..<Int(array.ndim)).map { array.shape[$0] }
  let shape = sizes.map { Int(clamping: $0) }
  guard let count = shape.validatedCount else {
    throw CetError(.shapeMismatch, "\(subject) has shape \(shape.shapeText), which is negative or too large")
  }
  if let strides = array.strides, count > 1 {
    var step: Int64 = 1
    for axis in sizes.indices.reversed() {
      // The stride of an axis with one entry has no meaning.
      guard sizes[axis] == 1 || strides[axis] == step else {
        let found = sizes.indices.map { String(strides[$0]) }.joined(separator: ", ")
        throw CetError(.invalidArgument, subject, expected: "elements in C order, densely packed", got: "strides [\(found)]")
      }
      step *= sizes[axis]
    }
  }
  guard let offset = Int(exactly: array.byte_offset) else { throw invalid("\(subject) has byte_offset \(array.byte_offset)") }
  guard count == 0 || array.data != nil else { throw invalid("\(subject) has data NULL") }
  var tensor = cet_tensor()
  tensor.name = name
  tensor.data = array.data.map { UnsafeRawPointer($0 + (count == 0 ? 0 : offset)) }
  tensor.byte_size = UInt64(count * type.byteWidth)
  tensor.shape = UnsafePointer(array.shape)
  tensor.rank = UInt32(array.ndim)
  tensor.element_type = type.rawValue
  return tensor
}

// MARK: Out

@implementation @_cdecl("cet_outputs_to_dlpack")
public func cet_outputs_to_dlpack(
  _ outputs: OpaquePointer?, _ index: Int, _ array: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary {
    let array = try required(array, "array")
    array.pointee = nil
    let tensor = try element(Handle.get(outputs, as: OutputsObject.self).outputs, index, "output").tensor
    array.pointee = try DLPackLoan.make(tensor, isCopy: false)
  }
}

@implementation @_cdecl("cet_quantized_to_dlpack")
public func cet_quantized_to_dlpack(
  _ quantized: OpaquePointer?, _ index: Int, _ type: cet_element_type, _ array: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary {
    let array = try required(array, "array")
    array.pointee = nil
    let tensor = try element(Handle.get(quantized, as: QuantizedObject.self).tensors, index, "initializer")
    let values = try Tensor(uninitialized: floatType(type), tensor.shape)
    write(tensor.dequantized(), as: values.type, to: values.pointer)
    array.pointee = try DLPackLoan.make(values, isCopy: true)
  }
}

/// A tensor that a host holds through DLPack; its memory lives until the host calls the deleter.
private final class DLPackLoan {
  private let tensor: Tensor
  private let shape: UnsafeMutablePointer<Int64>
  private let managed: UnsafeMutablePointer<cdl_managed_versioned>

  /// - Parameter isCopy: whether the memory is nobody else's, so that the taker may write to it.
  static func make(_ tensor: Tensor, isCopy: Bool) throws(CetError) -> OpaquePointer {
    guard let type = DLPackTypes.type(of: tensor.type) else {
      throw CetError(.invalidArgument, "DLPack has no type for \(tensor.type)")
    }
    let loan = DLPackLoan(tensor)
    loan.managed.pointee.flags = isCopy ? 2 : 1
    loan.managed.pointee.tensor.dtype = type
    loan.managed.pointee.manager_ctx = Unmanaged.passRetained(loan).toOpaque()
    HandleCount.add(1)
    return OpaquePointer(loan.managed)
  }

  private init(_ tensor: Tensor) {
    self.tensor = tensor
    shape = .allocate(capacity: max(1, 2 * tensor.rank))
    managed = .allocate(capacity: 1)
    var view = cdl_tensor()
    view.data = UnsafeMutableRawPointer(tensor.pointer)
    view.device.device_type = 1
    view.ndim = Int32(tensor.rank)
    var step: Int64 = 1
    for axis in tensor.shape.indices.reversed() {
      shape[axis] = Int64(tensor.shape[axis])
      shape[tensor.rank + axis] = step
      step *= max(1, shape[axis])
    }
    view.shape = shape
    view.strides = shape + tensor.rank
    var value = cdl_managed_versioned()
    value.major = 1
    value.tensor = view
    value.deleter = { raw in
      guard let context = raw?.pointee.manager_ctx else { return }
      HandleCount.add(-1)
      Unmanaged<DLPackLoan>.fromOpaque(context).release()
    }
    managed.initialize(to: value)
  }

  deinit {
    managed.deallocate()
    shape.deallocate()
  }
}

private enum DLPackTypes {
  private static let pairs: [(ElementType, code: UInt8, bits: UInt8)] = [
    (.int8, 0, 8), (.int16, 0, 16), (.int32, 0, 32), (.int64, 0, 64), (.uint8, 1, 8), (.uint16, 1, 16), (.uint32, 1, 32),
    (.uint64, 1, 64), (.float16, 2, 16), (.float32, 2, 32), (.float64, 2, 64), (.bfloat16, 4, 16), (.bool, 6, 8),
  ]

  static func elementType(_ type: cdl_type) -> ElementType? {
    type.lanes == 1 ? pairs.first { $0.code == type.code && $0.bits == type.bits }?.0 : nil
  }

  static func type(of type: ElementType) -> cdl_type? {
    pairs.first { $0.0 == type }.map { cdl_type(code: $0.code, bits: $0.bits, lanes: 1) }
  }
}
