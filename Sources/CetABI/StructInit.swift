import CCet

@implementation @_cdecl("cet_load_options_init")
public func cet_load_options_init(_ options: UnsafeMutablePointer<cet_load_options>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(options, size, "cet_load_options") }
}

@implementation @_cdecl("cet_plan_options_init")
public func cet_plan_options_init(_ options: UnsafeMutablePointer<cet_plan_options>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(options, size, "cet_plan_options") }
}

@implementation @_cdecl("cet_plan_tensor_init")
public func cet_plan_tensor_init(_ info: UnsafeMutablePointer<cet_plan_tensor>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(info, size, "cet_plan_tensor") }
}

@implementation @_cdecl("cet_plan_activation_init")
public func cet_plan_activation_init(_ info: UnsafeMutablePointer<cet_plan_activation>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(info, size, "cet_plan_activation") }
}

@implementation @_cdecl("cet_plan_summary_init")
public func cet_plan_summary_init(_ summary: UnsafeMutablePointer<cet_plan_summary>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(summary, size, "cet_plan_summary") }
}

@implementation @_cdecl("cet_quantize_options_init")
public func cet_quantize_options_init(
  _ options: UnsafeMutablePointer<cet_quantize_options>?, _ size: Int
) -> cet_status {
  boundary { try SizedStruct.initialize(options, size, "cet_quantize_options") }
}

@implementation @_cdecl("cet_initializer_view_init")
public func cet_initializer_view_init(_ view: UnsafeMutablePointer<cet_initializer_view>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(view, size, "cet_initializer_view") }
}

@implementation @_cdecl("cet_save_options_init")
public func cet_save_options_init(_ options: UnsafeMutablePointer<cet_save_options>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(options, size, "cet_save_options") }
}

@implementation @_cdecl("cet_value_info_init")
public func cet_value_info_init(_ info: UnsafeMutablePointer<cet_value_info>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(info, size, "cet_value_info") }
}

@implementation @_cdecl("cet_parameter_info_init")
public func cet_parameter_info_init(_ info: UnsafeMutablePointer<cet_parameter_info>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(info, size, "cet_parameter_info") }
}

@implementation @_cdecl("cet_run_options_init")
public func cet_run_options_init(_ options: UnsafeMutablePointer<cet_run_options>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(options, size, "cet_run_options") }
}

@implementation @_cdecl("cet_curvature_options_init")
public func cet_curvature_options_init(
  _ options: UnsafeMutablePointer<cet_curvature_options>?, _ size: Int
) -> cet_status {
  boundary { try SizedStruct.initialize(options, size, "cet_curvature_options") }
}

@implementation @_cdecl("cet_communicator_init")
public func cet_communicator_init(_ communicator: UnsafeMutablePointer<cet_communicator>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(communicator, size, "cet_communicator") }
}

@implementation @_cdecl("cet_curvature_info_init")
public func cet_curvature_info_init(_ info: UnsafeMutablePointer<cet_curvature_info>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(info, size, "cet_curvature_info") }
}

@implementation @_cdecl("cet_eigensolve_options_init")
public func cet_eigensolve_options_init(
  _ options: UnsafeMutablePointer<cet_eigensolve_options>?, _ size: Int
) -> cet_status {
  boundary { try SizedStruct.initialize(options, size, "cet_eigensolve_options") }
}

@implementation @_cdecl("cet_estimate_options_init")
public func cet_estimate_options_init(_ options: UnsafeMutablePointer<cet_estimate_options>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(options, size, "cet_estimate_options") }
}

@implementation @_cdecl("cet_spectrum_info_init")
public func cet_spectrum_info_init(_ info: UnsafeMutablePointer<cet_spectrum_info>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(info, size, "cet_spectrum_info") }
}

@implementation @_cdecl("cet_correction_view_init")
public func cet_correction_view_init(_ view: UnsafeMutablePointer<cet_correction_view>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(view, size, "cet_correction_view") }
}

@implementation @_cdecl("cet_model_info_init")
public func cet_model_info_init(_ info: UnsafeMutablePointer<cet_model_info>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(info, size, "cet_model_info") }
}

@implementation @_cdecl("cet_executor_init")
public func cet_executor_init(_ executor: UnsafeMutablePointer<cet_executor>?, _ size: Int) -> cet_status {
  boundary { try SizedStruct.initialize(executor, size, "cet_executor") }
}
