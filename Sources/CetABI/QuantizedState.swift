import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_quantized_save_state")
public func cet_quantized_save_state(_ quantized: OpaquePointer?, _ path: UnsafePointer<CChar>?) -> cet_status {
  boundary {
    let model = try Handle.get(quantized, as: QuantizedObject.self).model
    try ThreadProgress.watching { try model.saveState(path: text(path, "path")) }
  }
}

@implementation @_cdecl("cet_quantized_load_state")
public func cet_quantized_load_state(
  _ model: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ quantized: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: quantized, "quantized") {
    let model = try Handle.get(model, as: ModelObject.self).model
    return QuantizedObject(try ThreadProgress.watching { try QuantizedModel(statePath: text(path, "path"), of: model) })
  }
}
