import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_calibration_create")
public func cet_calibration_create(_ calibration: UnsafeMutablePointer<OpaquePointer?>?) -> cet_status {
  boundary(making: calibration, "calibration") { CalibrationObject(Calibration()) }
}

@implementation @_cdecl("cet_calibration_add_batch")
public func cet_calibration_add_batch(
  _ calibration: OpaquePointer?, _ inputs: UnsafePointer<cet_tensor>?, _ inputCount: Int,
  _ labels: UnsafePointer<cet_tensor>?
) -> cet_status {
  boundary {
    let object = try Handle.get(calibration, as: CalibrationObject.self)
    let arrays = try copied(inputs, inputCount)
    try object.add(inputs: arrays, labels: labels.map { try copied($0.pointee, "labels") })
  }
}

@implementation @_cdecl("cet_calibration_load_npz")
public func cet_calibration_load_npz(
  _ path: UnsafePointer<CChar>?, _ calibration: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: calibration, "calibration") {
    CalibrationObject(try ThreadProgress.watching { try Calibration(npz: text(path, "path")) })
  }
}

@implementation @_cdecl("cet_calibration_sample_count")
public func cet_calibration_sample_count(_ calibration: OpaquePointer?) -> UInt64 {
  boundary(counting: { UInt64(try Handle.get(calibration, as: CalibrationObject.self).calibration.sampleCount) })
}

@implementation @_cdecl("cet_calibration_batch_count")
public func cet_calibration_batch_count(_ calibration: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(calibration, as: CalibrationObject.self).calibration.batches.count })
}

@implementation @_cdecl("cet_calibration_get_array")
public func cet_calibration_get_array(
  _ calibration: OpaquePointer?, _ batch: Int, _ name: UnsafePointer<CChar>?, _ array: UnsafeMutablePointer<cet_tensor>?
) -> cet_status {
  boundary {
    let object = try Handle.get(calibration, as: CalibrationObject.self)
    let name = try text(name, "name")
    try required(array, "array").pointee = object.array(name, batch: batch)
  }
}
