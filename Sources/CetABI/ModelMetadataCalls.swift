import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_model_output_count")
public func cet_model_output_count(_ model: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(model, as: ModelObject.self).outputs.count })
}

@implementation @_cdecl("cet_model_get_output")
public func cet_model_get_output(
  _ model: OpaquePointer?, _ index: Int, _ info: UnsafeMutablePointer<cet_value_info>?
) -> cet_status {
  boundary {
    let outputs = try Handle.get(model, as: ModelObject.self).outputs
    try SizedStruct.write(element(outputs, index, "output"), to: info, "cet_value_info")
  }
}

@implementation @_cdecl("cet_model_get_info")
public func cet_model_get_info(_ model: OpaquePointer?, _ info: UnsafeMutablePointer<cet_model_info>?) -> cet_status {
  boundary { try SizedStruct.write(Handle.get(model, as: ModelObject.self).info, to: info, "cet_model_info") }
}

@implementation @_cdecl("cet_model_get_sha256")
public func cet_model_get_sha256(
  _ model: OpaquePointer?, _ digest: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> cet_status {
  boundary {
    let digest = try required(digest, "digest")
    digest.pointee = nil
    let model = try Handle.get(model, as: ModelObject.self)
    digest.pointee = try ThreadProgress.watching { try model.sha256() }
  }
}

@implementation @_cdecl("cet_model_opset_count")
public func cet_model_opset_count(_ model: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(model, as: ModelObject.self).opsets.count })
}

@implementation @_cdecl("cet_model_get_opset")
public func cet_model_get_opset(
  _ model: OpaquePointer?, _ index: Int, _ domain: UnsafeMutablePointer<UnsafePointer<CChar>?>?,
  _ version: UnsafeMutablePointer<Int64>?
) -> cet_status {
  boundary {
    let domain = try required(domain, "domain")
    domain.pointee = nil
    let version = try required(version, "version")
    version.pointee = 0
    let set = try element(Handle.get(model, as: ModelObject.self).opsets, index, "operator set")
    domain.pointee = set.domain
    version.pointee = Int64(set.version)
  }
}

@implementation @_cdecl("cet_model_metadata_count")
public func cet_model_metadata_count(_ model: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(model, as: ModelObject.self).entries.count })
}

@implementation @_cdecl("cet_model_get_metadata")
public func cet_model_get_metadata(
  _ model: OpaquePointer?, _ index: Int, _ key: UnsafeMutablePointer<UnsafePointer<CChar>?>?,
  _ value: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> cet_status {
  boundary {
    let key = try required(key, "key")
    key.pointee = nil
    let value = try required(value, "value")
    value.pointee = nil
    let entry = try element(Handle.get(model, as: ModelObject.self).entries, index, "metadata entry")
    key.pointee = entry.key
    value.pointee = entry.value
  }
}
