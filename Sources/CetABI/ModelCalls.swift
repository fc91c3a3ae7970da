import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_model_load_file")
public func cet_model_load_file(
  _ path: UnsafePointer<CChar>?, _ model: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: model, "model") {
    try ModelObject(ThreadProgress.watching { try LoadedModel(path: text(path, "path")) })
  }
}

@implementation @_cdecl("cet_model_load_memory")
public func cet_model_load_memory(
  _ data: UnsafeRawPointer?, _ size: Int, _ model: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: model, "model") {
    let data = try required(data, "data")
    guard size >= 0 else { throw invalid("argument 'size' is too large") }
    return try ModelObject(ThreadProgress.watching { try LoadedModel(bytes: UnsafeRawBufferPointer(start: data, count: size)) })
  }
}

@implementation @_cdecl("cet_model_load")
public func cet_model_load(
  _ source: UnsafePointer<cet_source>?, _ options: UnsafePointer<cet_load_options>?,
  _ model: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary {
    // First of all, so that every way out releases it.
    let source = source.map { HostSource($0.pointee, "model") }
    let model = try required(model, "model")
    model.pointee = nil
    try SystemMemory.checkHeadroom()
    let c = try SizedStruct.read(options, cet_load_options(), "cet_load_options")
    let loaded = try ThreadProgress.watching { try LoadedModel(required(source, "source").checked(), external: externalSource(c)) }
    model.pointee = try Handle.make(ModelObject(loaded))
  }
}

@implementation @_cdecl("cet_model_reads_file")
public func cet_model_reads_file(
  _ model: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ reads: UnsafeMutablePointer<UInt32>?
) -> cet_status {
  boundary {
    let reads = try required(reads, "reads")
    reads.pointee = 0
    reads.pointee = try Handle.get(model, as: ModelObject.self).model.reads(path: text(path, "path")) ? 1 : 0
  }
}

@implementation @_cdecl("cet_model_input_count")
public func cet_model_input_count(_ model: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(model, as: ModelObject.self).inputs.count })
}

@implementation @_cdecl("cet_model_get_input")
public func cet_model_get_input(
  _ model: OpaquePointer?, _ index: Int, _ info: UnsafeMutablePointer<cet_value_info>?
) -> cet_status {
  boundary {
    let inputs = try Handle.get(model, as: ModelObject.self).inputs
    try SizedStruct.write(element(inputs, index, "input"), to: info, "cet_value_info")
  }
}

@implementation @_cdecl("cet_model_parameter_count")
public func cet_model_parameter_count(_ model: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(model, as: ModelObject.self).parameters.count })
}

@implementation @_cdecl("cet_model_get_parameter")
public func cet_model_get_parameter(
  _ model: OpaquePointer?, _ index: Int, _ info: UnsafeMutablePointer<cet_parameter_info>?
) -> cet_status {
  boundary {
    let parameters = try Handle.get(model, as: ModelObject.self).parameters
    try SizedStruct.write(element(parameters, index, "parameter"), to: info, "cet_parameter_info")
  }
}

@implementation @_cdecl("cet_model_get_parameter_vector")
public func cet_model_get_parameter_vector(
  _ model: OpaquePointer?, _ values: UnsafeMutablePointer<Float>?, _ count: Int
) -> cet_status {
  boundary {
    let model = try Handle.get(model, as: ModelObject.self).model
    try checkCount(count, model.parameters.last.map { $0.offset + $0.count } ?? 0, "count")
    guard count > 0 else { return }
    model.copyParameters(to: try required(values, "values"))
  }
}

@implementation @_cdecl("cet_model_inspect_json")
public func cet_model_inspect_json(
  _ model: OpaquePointer?, _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> cet_status {
  boundary {
    let json = try required(json, "json")
    json.pointee = nil
    let model = try Handle.get(model, as: ModelObject.self).model
    json.pointee = try copyForCaller(ThreadProgress.watching { try model.inspectJSON() })
  }
}
