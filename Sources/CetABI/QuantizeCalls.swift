import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_quantize")
public func cet_quantize(
  _ model: OpaquePointer?, _ calibration: OpaquePointer?, _ plan: OpaquePointer?,
  _ options: UnsafePointer<cet_quantize_options>?, _ quantized: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: quantized, "quantized") {
    let model = try Handle.get(model, as: ModelObject.self).model
    let plan = try Handle.get(plan, as: PlanObject.self).plan
    let c = try SizedStruct.read(options, cet_quantize_options(), "cet_quantize_options")
    let asked = try QuantizeOptions(c)
    var data: Calibration?
    if let calibration {
      data = try Handle.get(calibration, as: CalibrationObject.self).calibration.fitted(to: model.requiredInputs, fixed: model.overridableInputs)
    } else if (asked.rounding ?? plan.options.rounding) != .nearest {
      throw invalid("the calibration handle is NULL: only the rounding 'nearest' needs no data")
    }
    let monitor = try monitor(c.progress, c.log, c.user_data, executor: c.executor)
    defer { monitor.flush() }
    return QuantizedObject(try quantizeModel(model, data, plan, asked, monitor))
  }
}

@implementation @_cdecl("cet_quantize_memory")
public func cet_quantize_memory(
  _ model: OpaquePointer?, _ calibration: OpaquePointer?, _ plan: OpaquePointer?,
  _ options: UnsafePointer<cet_quantize_options>?, _ bytes: UnsafeMutablePointer<UInt64>?
) -> cet_status {
  boundary {
    let bytes = try required(bytes, "bytes")
    let model = try Handle.get(model, as: ModelObject.self).model
    let plan = try Handle.get(plan, as: PlanObject.self).plan
    let data = try Handle.get(calibration, as: CalibrationObject.self).calibration
    let c = try SizedStruct.read(options, cet_quantize_options(), "cet_quantize_options")
    let monitor = try monitor(c.progress, c.log, c.user_data, executor: c.executor)
    defer { monitor.flush() }
    let fitted = try data.fitted(to: model.requiredInputs, fixed: model.overridableInputs)
    bytes.pointee = UInt64(clamping: try quantizingMemory(model, fitted, plan, QuantizeOptions(c), monitor))
  }
}

@implementation @_cdecl("cet_quantized_initializer_count")
public func cet_quantized_initializer_count(_ quantized: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(quantized, as: QuantizedObject.self).tensors.count })
}

@implementation @_cdecl("cet_quantized_get_initializer")
public func cet_quantized_get_initializer(
  _ quantized: OpaquePointer?, _ index: Int, _ view: UnsafeMutablePointer<cet_initializer_view>?
) -> cet_status {
  boundary {
    let object = try Handle.get(quantized, as: QuantizedObject.self)
    try SizedStruct.write(object.view(index), to: view, "cet_initializer_view")
  }
}

@implementation @_cdecl("cet_quantized_find_initializer")
public func cet_quantized_find_initializer(
  _ quantized: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ index: UnsafeMutablePointer<Int>?
) -> cet_status {
  boundary {
    let tensors = try Handle.get(quantized, as: QuantizedObject.self).tensors
    let name = try text(name, "name")
    let index = try required(index, "index")
    guard let found = tensors.firstIndex(where: { $0.name == name }) else {
      throw invalid("no quantized initializer has the name '\(name)'")
    }
    index.pointee = found
  }
}

@implementation @_cdecl("cet_quantized_dequantize")
public func cet_quantized_dequantize(
  _ quantized: OpaquePointer?, _ index: Int, _ values: UnsafeMutablePointer<Float>?, _ count: Int
) -> cet_status {
  boundary {
    let tensor = try element(Handle.get(quantized, as: QuantizedObject.self).tensors, index, "initializer")
    try checkCount(count, tensor.count, "count")
    guard count > 0 else { return }
    try required(values, "values").update(from: tensor.dequantized(), count: count)
  }
}

@implementation @_cdecl("cet_quantized_dequantize_as")
public func cet_quantized_dequantize_as(
  _ quantized: OpaquePointer?, _ index: Int, _ type: cet_element_type, _ values: UnsafeMutableRawPointer?, _ byteSize: UInt64
) -> cet_status {
  boundary {
    let tensor = try element(Handle.get(quantized, as: QuantizedObject.self).tensors, index, "initializer")
    let type = try floatType(type)
    guard byteSize == UInt64(tensor.count * type.byteWidth) else {
      throw CetError(
        .shapeMismatch, "argument 'byte_size'", expected: "\(tensor.count * type.byteWidth)", got: "\(byteSize)")
    }
    guard tensor.count > 0 else { return }
    write(tensor.dequantized(), as: type, to: try required(values, "values"))
  }
}

/// One of the types that weights are handed out in.
func floatType(_ number: cet_element_type) throws(CetError) -> ElementType {
  guard let type = ElementType(rawValue: number), [.float32, .float16, .bfloat16].contains(type) else {
    throw CetError(.invalidArgument, "argument 'element_type'", expected: "float32, float16 or bfloat16", got: "\(number)")
  }
  return type
}

/// Rounds to the nearest, ties to even.
func write(_ values: [Float], as type: ElementType, to target: UnsafeMutableRawPointer) {
  values.withUnsafeBufferPointer { values in
    if type == .float32 {
      if let base = values.baseAddress { target.copyMemory(from: base, byteCount: 4 * values.count) }
      return
    }
    for (index, value) in values.enumerated() {
      let bits = type == .float16 ? HalfPrecision.half(from: value) : HalfPrecision.bfloat16(from: value)
      target.storeBytes(of: bits, toByteOffset: 2 * index, as: UInt16.self)
    }
  }
}

@implementation @_cdecl("cet_quantized_get_plan")
public func cet_quantized_get_plan(
  _ quantized: OpaquePointer?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: plan, "plan") { try PlanObject(Handle.get(quantized, as: QuantizedObject.self).model.plan) }
}

@implementation @_cdecl("cet_quantized_save_file")
public func cet_quantized_save_file(
  _ quantized: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<cet_save_options>?
) -> cet_status {
  boundary {
    let model = try Handle.get(quantized, as: QuantizedObject.self).model
    let (encoding, maxMemory, host) = try toSave(model, options)
    try model.save(path: text(path, "path"), encoding: encoding, maxMemory: maxMemory, host)
  }
}

@implementation @_cdecl("cet_quantized_save_memory")
public func cet_quantized_save_memory(
  _ quantized: OpaquePointer?, _ options: UnsafePointer<cet_save_options>?,
  _ data: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ size: UnsafeMutablePointer<Int>?
) -> cet_status {
  boundary {
    let data = try required(data, "data")
    data.pointee = nil
    let size = try required(size, "size")
    size.pointee = 0
    let model = try Handle.get(quantized, as: QuantizedObject.self).model
    let (encoding, maxMemory, host) = try toSave(model, options)
    let bytes = try model.bytes(encoding: encoding, maxMemory: maxMemory, host)
    data.pointee = try copyForCaller(bytes)
    size.pointee = bytes.count
  }
}

private func toSave(
  _ model: QuantizedModel, _ options: UnsafePointer<cet_save_options>?
) throws(CetError) -> (encoding: Encoding, maxMemory: Int?, host: Monitor) {
  let c = try SizedStruct.read(options, cet_save_options(), "cet_save_options")
  return (
    try encoding(c.encoding) ?? model.plan.options.encoding, try optional(c.max_memory, "max_memory"), monitor(c.progress, nil, c.user_data)
  )
}

@implementation @_cdecl("cet_quantized_correction_count")
public func cet_quantized_correction_count(_ quantized: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(quantized, as: QuantizedObject.self).corrections.count })
}

@implementation @_cdecl("cet_quantized_get_correction")
public func cet_quantized_get_correction(
  _ quantized: OpaquePointer?, _ index: Int, _ view: UnsafeMutablePointer<cet_correction_view>?
) -> cet_status {
  boundary {
    let object = try Handle.get(quantized, as: QuantizedObject.self)
    try SizedStruct.write(object.correction(index), to: view, "cet_correction_view")
  }
}
