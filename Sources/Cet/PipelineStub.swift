import CetGraph
import CetTensor

private let missing = CetError(.internal, "this build has no engine")

/// A stretch of the parameter vector.
public struct ParameterInfo: Sendable, Equatable {
  public var name: String
  public var shape: [Int]
  public var offset: Int
  public var count: Int

  public init(name: String, shape: [Int], offset: Int, count: Int) {
    self.name = name
    self.shape = shape
    self.offset = offset
    self.count = count
  }
}

public final class LoadedModel: @unchecked Sendable {
  public init(path: String) throws { throw missing }
  public init(bytes: UnsafeRawBufferPointer) throws { throw missing }
  public var requiredInputs: [ValueInfo] { [] }
  public var parameters: [ParameterInfo] { [] }
  public func inspectJSON() throws -> String { throw missing }
}

public func makePlan(
  _ model: LoadedModel, _ data: Calibration, _ options: PlanOptions, _ monitor: Monitor
) throws -> CompressionPlan { throw missing }

public func makePlan(
  _ model: LoadedModel, sensitivityOf plan: CompressionPlan, _ options: PlanOptions
) throws -> CompressionPlan { throw missing }

public func quantizeModel(
  _ model: LoadedModel, _ data: Calibration?, _ plan: CompressionPlan, _ options: QuantizeOptions, _ monitor: Monitor
) throws -> QuantizedModel { throw missing }

/// A float initializer that goes with the codes: a bias corrected for the quantization error.
public struct Correction: Sendable {
  public var name: String
  public var node: String
  /// Whether the node had no bias before.
  public var isAdded: Bool
  public var values: [Float]

  public init(name: String, node: String, isAdded: Bool, values: [Float]) {
    self.name = name
    self.node = node
    self.isAdded = isAdded
    self.values = values
  }
}

public final class QuantizedModel: @unchecked Sendable {
  init() {}
  /// The plan that was carried out, with the measured loss change and the file's size.
  public var plan: CompressionPlan { get throws { throw missing } }
  public var tensors: [QuantizedTensor] { [] }
  public var corrections: [Correction] { [] }
  public func bytes(encoding: Encoding) throws -> [UInt8] { throw missing }
  public func save(path: String, encoding: Encoding) throws { throw missing }
}

public final class Curvature: @unchecked Sendable {
  public init(_ model: LoadedModel, _ data: Calibration, _ options: CurvatureOptions) throws { throw missing }
  public var dimension: Int { 0 }
  public var parameters: [ParameterInfo] { [] }
  public func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws { throw missing }
  public func gradient(_ result: UnsafeMutablePointer<Float>) throws { throw missing }
  public func loss() throws -> Double { throw missing }
}

public func runModel(
  _ model: LoadedModel, inputs: [(String, Tensor)], threads: Int
) throws -> [(name: String, tensor: Tensor)] { throw missing }
