import CetFormats
import CetTensor

/// What the library was built with and runs on, for reports of defects and benchmarks.
public func buildInfoJSON() -> String {
  JSON.object([
    .init("version", .string(CompressionPlan.libraryVersion)),
    .init("compilers", .object([.init("swift", .string(BuildInfo.swiftCompiler)), .init("c", .string(BuildInfo.cCompiler))])),
    .init("instruction_set", .string(BuildInfo.instructionSet)),
    .init("processors", .integer(Workers.processorCount)),
    .init("blas", .object([
      .init("name", .string("OpenBLAS")), .init("configuration", .string(BuildInfo.blasConfiguration)),
      .init("core", .string(BuildInfo.blasCore)), .init("threading", .string(BuildInfo.blasThreading)),
    ])),
    .init("onednn", .text(BuildInfo.oneDNNVersion)),
  ]).serialized()
}
