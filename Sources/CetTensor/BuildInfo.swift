import CKernels
import COpenBLAS

#if CET_ONEDNN
  import COneDNN
#endif

/// What the library was built with and runs on.
public enum BuildInfo {
  /// The widest set of vector instructions that both the kernels were compiled for and the processor has.
  public static var instructionSet: String { String(cString: ck_instruction_set()) }

  public static var cCompiler: String { String(cString: ck_compiler()) }

  public static var swiftCompiler: String {
    #if compiler(>=6.4)
      "6.4 or later"
    #elseif compiler(>=6.3)
      "6.3"
    #elseif compiler(>=6.2)
      "6.2"
    #else
      "6.1"
    #endif
  }

  /// "OpenBLAS 0.3.20 ..." with the options that it was built with.
  public static var blasConfiguration: String { openblas_get_config().map { String(cString: $0) } ?? "" }

  /// The processor whose kernels OpenBLAS chose.
  public static var blasCore: String { openblas_get_corename().map { String(cString: $0) } ?? "" }

  /// How OpenBLAS makes threads: a build without them, with its own, or with OpenMP's.
  public static var blasThreading: String {
    switch openblas_get_parallel() {
    case 0: "sequential"
    case 1: "pthreads"
    default: "openmp"
    }
  }

  /// nil in a build without it.
  public static var oneDNNVersion: String? {
    #if CET_ONEDNN
      dnnl_version().map { "\($0.pointee.major).\($0.pointee.minor).\($0.pointee.patch)" }
    #else
      nil
    #endif
  }
}
