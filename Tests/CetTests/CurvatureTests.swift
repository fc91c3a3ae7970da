import CetTensor
import Glibc
import Testing

@testable import Cet

/// Against PyTorch's double backward in float64 (tools/make_curvature_fixture.py).
@Suite struct CurvatureTests {
  private static let expected: [String: [Double]] = {
    var table: [String: [Double]] = [:]
    for line in (try? text("curvature/digits_cnn.txt"))?.split(separator: "\n") ?? [] {
      let words = line.split(separator: " ")
      table["\(words[0]) \(words[1])"] = words.dropFirst(2).compactMap { Double($0) }
    }
    return table
  }()

  private static func text(_ name: String) throws -> String {
    guard let file = fopen(fixture(name), "r") else { throw CetError(.io, "no fixture \(name)") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var next = fgetc(file)
    while next >= 0 {
      bytes.append(UInt8(next))
      next = fgetc(file)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func fixture(_ name: String, file: String = #filePath) -> String {
    file.split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 } + "/Fixtures/" + name
  }

  private static func curvature(
    _ loss: LossKind, curvature: CurvatureKind = .hessian, model: String = "model.onnx", threads: Int = 2, batch: Int? = nil,
    memory: Int? = nil, keep: [String] = []
  ) throws -> Curvature {
    let loaded = try LoadedModel(path: fixture("digits_cnn/\(model)"))
    let data = try Calibration(npz: fixture("digits_cnn/calibration.npz")).fitted(to: loaded.requiredInputs)
    var options = CurvatureOptions()
    options.loss = loss
    options.curvature = curvature
    options.samples = 32
    options.threads = threads
    options.batchSize = batch
    options.maxMemory = memory
    options.keep = keep
    return try Curvature(loaded, data, options)
  }

  private static func wave(_ k: Int, _ count: Int) -> [Float] {
    (0..<count).map { Float(sin(0.1 * Double(k + 1) * Double($0 + 1))) }
  }

  private static func apply(_ map: Curvature, _ v: [Float]) throws -> [Float] {
    var result = [Float](repeating: .nan, count: v.count)
    try v.withUnsafeBufferPointer { v in
      try result.withUnsafeMutableBufferPointer { hv in
        try map.apply(count: v.count / map.dimension) { (try #require(v.baseAddress), try #require(hv.baseAddress)) }
      }
    }
    return result
  }

  private static func dot(_ a: [Float], _ b: [Float]) -> Double {
    zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }

  private static func norm(_ a: [Float]) -> Double { dot(a, a).squareRoot() }

  @Test(arguments: [LossKind.crossEntropy, .kl], ["model.onnx", "model_opset21.onnx"])
  func products_agreeWithPyTorch(_ loss: LossKind, _ model: String) throws {
    let map = try Self.curvature(loss, model: model)
    let waves = (0..<4).map { Self.wave($0, map.dimension) }
    let value = try #require(Self.expected["\(loss.rawValue) loss"]?.first)
    #expect(abs(try map.loss() - value) < 1e-6)
    let products = try waves.map { try Self.apply(map, $0) }
    for j in 0..<4 {
      let row = try #require(Self.expected["\(loss.rawValue) hessian\(j)"])
      for k in 0..<4 {
        // Single precision against double.
        let scale = Self.norm(waves[j]) * Self.norm(products[k])
        #expect(abs(Self.dot(waves[j], products[k]) - row[k]) < 1e-6 * scale)
      }
    }
    var gradient = [Float](repeating: 0, count: map.dimension)
    try gradient.withUnsafeMutableBufferPointer { g in try map.gradient { try #require(g.baseAddress) } }
    let row = try #require(Self.expected["\(loss.rawValue) gradient"])
    for k in 0..<4 { #expect(abs(Self.dot(gradient, waves[k]) - row[k]) < 2e-5) }
  }

  /// A solve that needs more memory than there is takes that of the curvature, which gives the same products with less.
  @Test func memoryForASolve_isTakenFromTheCurvature() throws {
    let map = try Self.curvature(.crossEntropy, batch: 8)
    let v = Self.wave(0, map.dimension)
    let before = try Self.apply(map, v)
    var options = EigensolveOptions()
    options.maxMemory = 1 << 20
    #expect(try map.memory(for: options) == 1 << 20)
    #expect(map.memory.keptBatches == 4 && map.memory.workers == 2)
    (options.maxMemory, options.totalMaxMemory) = (nil, map.memory.predicted + options.ampleBytes(dimension: map.dimension))
    #expect(try map.memory(for: options) == options.ampleBytes(dimension: map.dimension))
    #expect(map.memory.keptBatches == 4 && map.memory.workers == 2)
    // Directions that a solve by single vectors does not need are enough.
    let (total, directions) = (map.memory.predicted, map.memory.directions)
    options.totalMaxMemory = total
    let rest = try map.memory(for: options)
    #expect(rest >= options.ampleBytes(dimension: map.dimension) && rest == total - map.memory.predicted)
    #expect(map.memory.directions < directions && map.memory.keptBatches == 4 && map.memory.workers == 2)
    options.totalMaxMemory = 1
    #expect(try map.memory(for: options) == 0)
    #expect(map.memory.keptBatches == 0 && map.memory.workers == 1 && map.memory.predicted == map.memory.least)
    #expect(try Self.apply(map, v) == before)
  }

  @Test func hessian_isSymmetric() throws {
    let map = try Self.curvature(.crossEntropy)
    let (u, v) = (Self.wave(1, map.dimension), Self.wave(2, map.dimension))
    let (hu, hv) = (try Self.apply(map, u), try Self.apply(map, v))
    #expect(abs(Self.dot(u, hv) - Self.dot(v, hu)) <= 1e-5 * Self.norm(u) * Self.norm(hv))
  }

  /// At the model's own output the residual of the loss vanishes, so both curvatures are the same matrix.
  @Test func klHessian_isTheGaussNewtonMatrix() throws {
    let hessian = try Self.curvature(.kl)
    let gaussNewton = try Self.curvature(.kl, curvature: .gaussNewton)
    let v = Self.wave(0, hessian.dimension)
    let (a, b) = (try Self.apply(hessian, v), try Self.apply(gaussNewton, v))
    #expect(Self.norm(zip(a, b).map { $0 - $1 }) < 1e-4 * Self.norm(a))
  }

  @Test func labelledHessian_isNotTheGaussNewtonMatrix() throws {
    let v = Self.wave(0, try Self.curvature(.crossEntropy).dimension)
    let a = try Self.apply(Self.curvature(.crossEntropy), v)
    let b = try Self.apply(Self.curvature(.crossEntropy, curvature: .gaussNewton), v)
    #expect(Self.norm(zip(a, b).map { $0 - $1 }) > 1e-2 * Self.norm(a))
  }

  @Test(arguments: [1, 2, 3]) func product_isTheSameForAnyNumberOfThreads(_ threads: Int) throws {
    let v = Self.wave(3, try Self.curvature(.kl).dimension)
    let one = try Self.apply(Self.curvature(.kl, threads: 1), v)
    #expect(try Self.apply(Self.curvature(.kl, threads: threads), v) == one)
  }

  @Test(arguments: [LossKind.kl, .crossEntropy])
  func leastMemory_isNamedAndEnoughForTheSameProducts(_ loss: LossKind) throws {
    let error = #expect(throws: CetError.self) { try Self.curvature(loss, memory: 1) }
    #expect(error?.code == .outOfMemory)
    let words = try #require(error?.message.split(separator: " "))
    let least = try #require(words.firstIndex(of: "least").flatMap { Int(words[$0 + 1]) })
    #expect(throws: CetError.self) { try Self.curvature(loss, memory: least - 1) }
    let small = try Self.curvature(loss, memory: least)
    let usual = try Self.curvature(loss)
    let v = Self.wave(3, small.dimension)
    #expect(try Self.apply(small, v) == Self.apply(usual, v))
    #expect(small.memory.keptBatches == 0 && small.memory.workers == 1 && small.memory.directions == 1)
    #expect(usual.memory.keptBatches == usual.batchCount && usual.memory.workers == 2)
    _ = try Self.apply(usual, (0..<usual.memory.directions).flatMap { Self.wave($0, usual.dimension) })
    for map in [small, usual] {
      #expect(map.memory.predicted <= map.memory.limit)
      #expect(map.peakBytes <= map.memory.predicted)
      #expect(2 * map.peakBytes > map.memory.predicted)
    }
  }

  /// Batches of 5; of 32 on 4 threads, which share the directions of the one batch.
  @Test(arguments: [(1, 5), (4, 5), (4, 32)]) func blockProducts_areTheSingleOnes(_ threads: Int, _ batch: Int) throws {
    let map = try Self.curvature(.crossEntropy, threads: threads, batch: batch)
    #expect(map.memory.directions > 1 && map.memory.keptBatches == map.batchCount)
    #expect(map.memory.workers == threads)
    try Self.checkBlock(map, Self.curvature(.crossEntropy, threads: 1, batch: batch))
  }

  /// In memory that is too small to keep all primals, and large enough for several directions: those of one tensor.
  @Test func blockProducts_inLittleMemoryAreTheSingleOnes() throws {
    let others = try Self.curvature(.crossEntropy).parameters.dropFirst().map(\.name)
    let usual = try Self.curvature(.crossEntropy, threads: 1, batch: 2, keep: others)
    let map = try Self.curvature(
      .crossEntropy, threads: 1, batch: 2, memory: usual.memory.predicted * 4 / 5, keep: others)
    #expect(map.memory.directions > 1 && map.memory.keptBatches < map.batchCount)
    try Self.checkBlock(map, usual)
  }

  private static func checkBlock(_ map: Curvature, _ one: Curvature) throws {
    let waves = (0..<11).map { wave($0, map.dimension) }
    let together = try apply(map, waves.flatMap { $0 })
    #expect(try together == waves.flatMap { try apply(one, $0) })
    #expect(map.peakBytes <= map.memory.predicted)
  }

  /// 32 samples in batches of 5 leave a ragged one of 2.
  @Test func raggedBatches_giveTheSameHessian() throws {
    let whole = try Self.curvature(.crossEntropy, batch: 32)
    let ragged = try Self.curvature(.crossEntropy, batch: 5)
    let v = Self.wave(0, whole.dimension)
    let (a, b) = (try Self.apply(whole, v), try Self.apply(ragged, v))
    #expect(Self.norm(zip(a, b).map { $0 - $1 }) < 1e-5 * Self.norm(a))
  }
}
