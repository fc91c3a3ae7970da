import CCet
import Glibc

@implementation @_cdecl("cet_model_free")
public func cet_model_free(_ model: OpaquePointer?) { Handle.free(model, as: ModelObject.self) }

@implementation @_cdecl("cet_calibration_free")
public func cet_calibration_free(_ calibration: OpaquePointer?) { Handle.free(calibration, as: CalibrationObject.self) }

@implementation @_cdecl("cet_plan_free")
public func cet_plan_free(_ plan: OpaquePointer?) { Handle.free(plan, as: PlanObject.self) }

@implementation @_cdecl("cet_session_free")
public func cet_session_free(_ session: OpaquePointer?) { Handle.free(session, as: SessionObject.self) }

@implementation @_cdecl("cet_quantized_free")
public func cet_quantized_free(_ quantized: OpaquePointer?) { Handle.free(quantized, as: QuantizedObject.self) }

@implementation @_cdecl("cet_curvature_free")
public func cet_curvature_free(_ curvature: OpaquePointer?) { Handle.free(curvature, as: CurvatureObject.self) }

@implementation @_cdecl("cet_spectrum_free")
public func cet_spectrum_free(_ spectrum: OpaquePointer?) { Handle.free(spectrum, as: SpectrumObject.self) }

@implementation @_cdecl("cet_outputs_free")
public func cet_outputs_free(_ outputs: OpaquePointer?) { Handle.free(outputs, as: OutputsObject.self) }

@implementation @_cdecl("cet_free")
public func cet_free(_ memory: UnsafeMutableRawPointer?) { Glibc.free(memory) }

@implementation @_cdecl("cet_live_handle_count")
public func cet_live_handle_count() -> UInt64 { UInt64(clamping: HandleCount.value) }
