// swift-tools-version: 6.1
import PackageDescription

// CET_ONEDNN=0 builds without oneDNN: every kernel then runs on OpenBLAS.
// CET_DIST=0.1 (the interface's version, tools/version.sh abi) links the shared library as it is installed: SONAME libcet.so.0.1,
// only cet_* exported, with the symbol versions of .build-dist/cet.map, and the static Swift run time of .build-dist/runtime.
// `make lib` sets and makes them.
let oneDNN = Context.environment["CET_ONEDNN"] != "0"
let interface = Context.environment["CET_DIST"]
let distribution = interface != nil

let kernelDependencies: [Target.Dependency] = ["CKernels", "COpenBLAS"] + (oneDNN ? ["COneDNN"] : [])
let kernelSettings: [SwiftSetting] = oneDNN ? [.define("CET_ONEDNN")] : []

let package = Package(
  name: "libcet",
  products: [
    .library(name: "cet", type: .dynamic, targets: ["CetABI"]),
    .executable(name: "cet-onnx", targets: ["cet-onnx"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")
  ],
  targets: [
    // C: the public header, the vector kernels, and the system libraries' module maps.
    .target(name: "CCet"),
    .target(name: "CDLPack"),
    .target(
      name: "CKernels", cSettings: [.unsafeFlags(["-O3", "-fno-math-errno", "-ffp-contract=off"])]),
    .systemLibrary(name: "COpenBLAS", providers: [.apt(["libopenblas-dev", "liblapacke-dev"])]),
    .systemLibrary(name: "COneDNN", providers: [.apt(["libdnnl-dev"])]),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),

    // Swift, lowest first: an arrow goes down only (tools/check-arrows.sh).
    .target(
      name: "CetTensor", dependencies: kernelDependencies, swiftSettings: kernelSettings,
      // The static LAPACKE leaves libopenblas as the only BLAS that is loaded.
      linkerSettings: [.unsafeFlags(["-l:liblapacke.a", "-lopenblas"])]),
    .target(name: "CetFormats", dependencies: ["CetTensor", "CZlib"]),
    .target(name: "CetGraph", dependencies: ["CetTensor"]),
    .target(name: "CetONNX", dependencies: ["CetGraph", "CetFormats"]),
    .target(name: "CetOperators", dependencies: ["CetGraph"]),
    .target(name: "CetLayers", dependencies: ["CetOperators", "CetFormats"]),
    .target(name: "CetAutodiff", dependencies: ["CetOperators"]),
    .target(name: "CetSpectral", dependencies: ["CetTensor"]),
    .target(name: "CetQuantize", dependencies: ["CetTensor"]),
    .target(name: "CetAllocate", dependencies: ["CetSpectral", "CetQuantize"]),
    .target(name: "CetEncode", dependencies: ["CetONNX", "CetLayers", "CetQuantize"]),
    .target(name: "CetMeasure", dependencies: ["CetAutodiff", "CetQuantize", "CetLayers"]),
    .target(name: "Cet", dependencies: ["CetMeasure", "CetEncode", "CetAllocate"]),
    .target(
      name: "CetABI", dependencies: ["Cet", "CCet", "CDLPack"],
      swiftSettings: distribution ? [.unsafeFlags(["-static-stdlib"])] : [],
      linkerSettings: distribution
        ? [
          .unsafeFlags([
            "-static-stdlib", "-resource-dir", ".build-dist/runtime", "-use-ld=lld",
            "-Xlinker", "--version-script=.build-dist/cet.map",
            "-Xlinker", "-soname=libcet.so.\(interface!)",
            "-Xlinker", "--exclude-libs=ALL", "-Xlinker", "-z", "-Xlinker", "defs",
            "-Xlinker", "-z", "-Xlinker", "nodelete", "-Xlinker", "--gc-sections", "-Xlinker", "--icf=all",
            "-Xlinker", "--wrap=_swift_stdlib_getScalarName",
          ])
        ] : []),
    // Installed, the tool is a client of libcet.so like any other program; the linker finds the library where the
    // distribution build has just put it (make lib). Otherwise the library is linked in.
    .executableTarget(
      name: "cet-onnx",
      dependencies: [
        "CCet", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ] + (distribution ? [] : ["CetABI"]),
      path: "examples/cet-onnx",
      linkerSettings: distribution
        ? [.linkedLibrary("cet"), .unsafeFlags(["-use-ld=lld", "-Xlinker", "-rpath=$ORIGIN/../lib"])] : []),

    .testTarget(name: "CetTensorTests", dependencies: ["CetTensor"]),
    .testTarget(name: "CetFormatsTests", dependencies: ["CetFormats"]),
    .testTarget(name: "CetGraphTests", dependencies: ["CetGraph"]),
    .testTarget(name: "CetONNXTests", dependencies: ["CetONNX"]),
    .testTarget(name: "CetOperatorsTests", dependencies: ["CetOperators", "CetAutodiff"]),
    .testTarget(name: "CetLayersTests", dependencies: ["CetLayers"]),
    .testTarget(name: "CetAutodiffTests", dependencies: ["CetAutodiff"]),
    .testTarget(name: "CetSpectralTests", dependencies: ["CetSpectral"]),
    .testTarget(name: "CetQuantizeTests", dependencies: ["CetQuantize"]),
    .testTarget(name: "CetAllocateTests", dependencies: ["CetAllocate"]),
    .testTarget(name: "CetEncodeTests", dependencies: ["Cet"]),
    .testTarget(name: "CetMeasureTests", dependencies: ["CetMeasure"]),
    .testTarget(name: "CetTests", dependencies: ["Cet"]),
    .testTarget(name: "ConformanceTests", dependencies: ["Cet", "CetONNX"]),
  ]
)

// Searching a string for a string and regular expressions are a library of a megabyte, which a single use would link in.
let withoutRegularExpressions: [SwiftSetting] = [
  .unsafeFlags(["-Xfrontend", "-disable-implicit-string-processing-module-import"])
]
// Modules that read, write, build graphs and decide; loops over weights or samples are those of CetTensor, CetQuantize and C.
let small: Set = [
  "CetGraph", "CetONNX", "CetEncode", "CetLayers", "CetOperators", "CetAutodiff", "CetMeasure", "CetAllocate",
  "CetSpectral", "Cet", "CetABI",
]
for target in package.targets where target.type == .regular && target.name.hasPrefix("Cet") {
  target.swiftSettings = (target.swiftSettings ?? []) + withoutRegularExpressions
  guard distribution else { continue }
  // A section a function, which the linker leaves out unless an exported function reaches it.
  target.swiftSettings?.append(.unsafeFlags(["-Xfrontend", "-function-sections", "-Xfrontend", "-internalize-at-link"]))
  if small.contains(target.name) { target.swiftSettings?.append(.unsafeFlags(["-Osize"])) }
}
