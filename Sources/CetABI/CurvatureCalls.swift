import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_curvature_create")
public func cet_curvature_create(
  _ model: OpaquePointer?, _ calibration: OpaquePointer?, _ options: UnsafePointer<cet_curvature_options>?,
  _ curvature: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: curvature, "curvature") {
    let model = try Handle.get(model, as: ModelObject.self).model
    let data = try Handle.get(calibration, as: CalibrationObject.self).calibration
    let options = try CurvatureOptions(options)
    return try CurvatureObject(Curvature(model, data.fitted(to: model.requiredInputs), options))
  }
}

@implementation @_cdecl("cet_curvature_dimension")
public func cet_curvature_dimension(_ curvature: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(curvature, as: CurvatureObject.self).curvature.dimension })
}

@implementation @_cdecl("cet_curvature_apply")
public func cet_curvature_apply(
  _ curvature: OpaquePointer?, _ v: UnsafePointer<Float>?, _ hv: UnsafeMutablePointer<Float>?, _ n: Int
) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    let v = try required(v, "v")
    let hv = try required(hv, "hv")
    try checkCount(n, curvature.dimension, "n")
    try checkFinite(v, n, "v")
    try curvature.apply(v, hv)
    try checkFinite(UnsafePointer(hv), n, "the Hessian-vector product")
  }
}

/// Names the place, because such a value spreads everywhere in one step.
func checkFinite(_ values: UnsafePointer<Float>, _ count: Int, _ name: StaticString) throws {
  for index in 0..<count where !values[index].isFinite {
    throw CetError(.numeric, "\(name) is NaN or infinite at element \(index)")
  }
}

@implementation @_cdecl("cet_curvature_gradient")
public func cet_curvature_gradient(
  _ curvature: OpaquePointer?, _ gradient: UnsafeMutablePointer<Float>?, _ n: Int
) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    let gradient = try required(gradient, "gradient")
    try checkCount(n, curvature.dimension, "n")
    try curvature.gradient(gradient)
  }
}

@implementation @_cdecl("cet_curvature_loss")
public func cet_curvature_loss(_ curvature: OpaquePointer?, _ loss: UnsafeMutablePointer<Double>?) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    try required(loss, "loss").pointee = curvature.loss()
  }
}

@implementation @_cdecl("cet_curvature_parameter_count")
public func cet_curvature_parameter_count(_ curvature: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(curvature, as: CurvatureObject.self).parameters.count })
}

@implementation @_cdecl("cet_curvature_get_parameter")
public func cet_curvature_get_parameter(
  _ curvature: OpaquePointer?, _ index: Int, _ info: UnsafeMutablePointer<cet_parameter_info>?
) -> cet_status {
  boundary {
    let parameters = try Handle.get(curvature, as: CurvatureObject.self).parameters
    try SizedStruct.write(element(parameters, index, "parameter"), to: info, "cet_parameter_info")
  }
}
