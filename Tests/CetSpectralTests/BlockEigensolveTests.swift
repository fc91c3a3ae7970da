import CetTensor
import Glibc
import Testing

@testable import CetSpectral

@Suite struct BlockEigensolveTests {
  @Test(arguments: [2, 3, 4, 8])
  func randomSymmetric_blockEigensolve_matchesLapack(block: Int) throws {
    for n in [5, 13, 40, 150] {
      let map = DenseMap.random(n, seed: UInt64(n))
      let spectrum = try LinearAlgebra.symmetricEigen(map.matrix, n: n).values
      var options = EigensolveSettings(count: 6, tolerance: 1e-5, maximumApplies: 4000)
      options.block = block
      let pairs = try eigensolve(map, options)
      #expect(pairs.convergedCount == min(6, n))
      EigensolveTests.check(map, pairs, spectrum: spectrum, part: .largestMagnitude, tolerance: 1e-6)
    }
  }

  @Test func repeatedEigenvalues_blockEigensolve_findsEveryCopy() throws {
    let spectrum = [7.0, 7, 7, 5, 5, 2] + (0..<60).map { Double($0) / 60 }
    let map = DenseMap(spectrum: spectrum, seed: 1)
    var options = EigensolveSettings(count: 6, tolerance: 1e-4)
    options.block = 3
    let pairs = try eigensolve(map, options)
    #expect(pairs.convergedCount == 6)
    EigensolveTests.check(map, pairs, spectrum: spectrum, part: .largestMagnitude, tolerance: 1e-4)
  }

  /// The products of the first block already span less than a block.
  @Test(arguments: [[3.0] + [Double](repeating: 0, count: 49), [Double](repeating: 1, count: 30), [Double](repeating: 0, count: 30)])
  func blockThatLosesRank_eigensolve_continues(spectrum: [Double]) throws {
    let map = DenseMap(spectrum: spectrum, seed: 3)
    var options = EigensolveSettings(count: 3)
    options.block = 4
    let pairs = try eigensolve(map, options)
    EigensolveTests.check(map, pairs, spectrum: spectrum, part: .largestMagnitude, tolerance: 1e-4)
    #expect(pairs.convergedCount == 3)
  }

  @Test func block_eigensolve_callsTheMapInBlocks() throws {
    let map = BlockCountingMap(DenseMap.random(60, seed: 2))
    var options = EigensolveSettings(count: 5, maximumApplies: 200)
    options.block = 4
    let pairs = try eigensolve(map, options)
    #expect(pairs.applies == map.blocks.reduce(0, +) && pairs.applies <= 200)
    // The last five residuals are a block of 4 and a rest.
    #expect(map.blocks.dropLast().allSatisfy { $0 == 4 } && map.blocks.last == 1)
  }

  @Test func sameSeedAnyThreads_blockEigensolve_sameBits() throws {
    var random = Random(seed: 10)
    let map = DiagonalMap((0..<100_000).map { _ in Float(random.uniform() * random.uniform() * random.uniform()) })
    for type in BasisType.allCases {
      var options = EigensolveSettings(count: 3, maximumApplies: 60, seed: 5)
      options.block = 4
      options.basisType = type
      let results = try [1, 2, 3].map { try eigensolve(map, options, workers: Workers(threads: $0)) }
      for other in results[1...] {
        let sameVectors = (0..<3).allSatisfy { other.vectors[$0] == results[0].vectors[$0] }
        #expect(sameVectors && other.values == results[0].values && other.residualNorms == results[0].residualNorms)
      }
    }
  }

  // MARK: Where the basis is

  @Test func basisInAFile_eigensolve_sameBitsAndNothingLeft() throws {
    let folder = try TemporaryFolder()
    let map = DenseMap.random(300, seed: 4)
    var options = EigensolveSettings(count: 4, tolerance: 1e-4, maximumApplies: 2000)
    let inMemory = try eigensolve(map, options)
    options.basisFolder = folder.path
    let inFile = try eigensolve(map, options)
    #expect(inFile.values == inMemory.values)
    for i in 0..<4 { #expect(inFile.vectors[i] == inMemory.vectors[i]) }
    #expect(folder.isEmpty)
  }

  @Test func folderThatIsNotThere_eigensolve_ioError() {
    var options = EigensolveSettings(count: 2)
    options.basisFolder = "/no/such/folder"
    do {
      _ = try eigensolve(DenseMap.random(30, seed: 5), options)
      Issue.record("no error")
    } catch {
      #expect(error.code == .io && error.message.contains("/no/such/folder"))
    }
  }

  /// More than any disk has.
  @Test func fullDisk_basisMemory_ioErrorAndNothingLeft() throws {
    let folder = try TemporaryFolder()
    do {
      _ = try BasisMemory(byteCount: 1 << 52, folder: folder.path)
      Issue.record("no error")
    } catch {
      #expect(error.code == .io && error.message.contains("\(1 << 52) bytes"))
    }
    #expect(folder.isEmpty)
  }

  // MARK: Sizes

  @Test func maximumMemory_sizes_smallerBasisOrError() throws {
    var options = EigensolveSettings(count: 10)
    let free = try EigensolveSizes(dimension: 1000, options)
    #expect(free.capacity == 30 && free.basisBytes == 31 * 4000 && free.workBytes == 8000)
    options.maximumMemory = 22 * 4000
    let tight = try EigensolveSizes(dimension: 1000, options)
    #expect(tight.capacity == 19 && tight.basisBytes + tight.workBytes <= 22 * 4000)
    options.maximumMemory = 14 * 4000
    #expect(throws: CetError.self) { try EigensolveSizes(dimension: 1000, options) }
    options.basisType = .bfloat16
    #expect(try EigensolveSizes(dimension: 1000, options).capacity == 23)
    options.basisType = .float32
    options.basisFolder = "/tmp"
    #expect(try EigensolveSizes(dimension: 1000, options).capacity == 30)
    options.basisFolder = nil
    options.basisDimension = 30
    do {
      options.maximumMemory = 100_000
      _ = try EigensolveSizes(dimension: 1000, options)
      Issue.record("no error")
    } catch {
      #expect(error.message.contains("need 132000 bytes"))
    }
  }

  // MARK: bfloat16

  @Test(arguments: [1, 3]) func bfloat16Basis_eigensolve_withinItsRounding(block: Int) throws {
    for n in [40, 150, 600] {
      let map = DenseMap.random(n, seed: UInt64(n))
      let spectrum = try LinearAlgebra.symmetricEigen(map.matrix, n: n).values
      let largest = spectrum.map(abs).max() ?? 0
      var options = EigensolveSettings(count: 6, tolerance: 1e-2, maximumApplies: 3000)
      options.basisType = .bfloat16
      options.block = block
      let pairs = try eigensolve(map, options)
      #expect(pairs.convergedCount == 6)
      #expect(pairs.vectors.type == .float32)
      let expected = spectrum.sorted { abs($0) > abs($1) }
      for i in 0..<6 {
        // A Rayleigh quotient is off by the square of the residual over the gap, at most by the residual.
        #expect(abs(abs(pairs.values[i]) - abs(expected[i])) <= pairs.residualNorms[i])
        #expect(abs(map.residual(pairs.values[i], pairs.vectors[i]) - pairs.residualNorms[i]) <= 1e-5 * largest)
      }
    }
  }

  @Test func bfloat16BasisWithoutRoom_eigensolve_roundedVectors() throws {
    let map = DenseMap.random(100, seed: 3)
    var options = EigensolveSettings(count: 20, basisDimension: 30, tolerance: 2e-2, maximumApplies: 4000)
    options.basisType = .bfloat16
    let pairs = try eigensolve(map, options)
    #expect(pairs.vectors.type == .bfloat16 && pairs.convergedCount == 20)
    for i in 0..<20 {
      let v = pairs.vectors[i]
      let norm = v.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(map.residual(pairs.values[i], v.map { $0 / Float(norm) }) - pairs.residualNorms[i]) < 1e-4)
    }
  }

  // MARK: Start from vectors that are known

  @Test func initialVectors_eigensolve_fewerApplies() throws {
    let stiff: [Double] = (0..<10).map { 20 - Double($0) }
    let flat: [Double] = (0..<400).map { 10.8 * Double($0) / 400 }
    let spectrum = stiff + flat
    let map = DenseMap(spectrum: spectrum, seed: 7)
    var options = EigensolveSettings(count: 10, basisDimension: 16, tolerance: 1e-3, maximumApplies: 3000)
    options.checksForRepeated = false
    let cold = try eigensolve(map, options)
    options.initial = cold.vectors
    options.seed = 3
    map.applies = 0
    let warm = try eigensolve(map, options)
    #expect(warm.convergedCount == 10)
    EigensolveTests.check(map, warm, spectrum: spectrum, part: .largestMagnitude, tolerance: 1e-4)
    // Ten of each are for the residuals.
    #expect(warm.applies - 10 < (cold.applies - 10) / 2)
    options.initial = try Eigenvectors(dimension: 3, vectors: [1, 0, 0])
    #expect(throws: CetError.self) { try eigensolve(map, options) }
  }

  // MARK: States

  /// Stops after a restart, keeps what it was given, and goes on from there.
  @Test(arguments: BasisType.allCases, [1, 3]) func savedState_eigensolve_sameBits(type: BasisType, block: Int) throws {
    let map = DenseMap.random(200, seed: 12)
    var options = EigensolveSettings(count: 5, basisDimension: 18, tolerance: 1e-3, maximumApplies: 2000)
    options.basisType = type
    options.block = block
    let whole = try eigensolve(map, options)
    #expect(whole.restarts > 3)
    var saved: EigensolveState?
    var bytes: [UInt8] = []
    let record = EigensolveCheckpoint(resume: nil, fill: { _ in }) { state throws(CetError) in
      (saved, bytes) = (state, [])
      state.eachPiece { bytes += $0 }
      if state.restarts == 3 { throw CetError(.cancelled, "stop") }
    }
    #expect(throws: CetError.self) { try eigensolve(map, options, checkpoint: record) }
    guard let saved else {
      Issue.record("no state")
      return
    }
    var place = 0
    map.applies = 0
    let resume = EigensolveCheckpoint(resume: saved, fill: { piece in
      bytes[place..<(place + piece.count)].withUnsafeBytes { piece.copyMemory(from: $0) }
      place += piece.count
    }, save: { _ in })
    let rest = try eigensolve(map, options, checkpoint: resume)
    #expect(place == bytes.count && map.applies == whole.applies - saved.applies)
    #expect(rest.values == whole.values && rest.applies == whole.applies && rest.restarts == whole.restarts)
    for i in 0..<5 { #expect(rest.vectors[i] == whole.vectors[i]) }
    options.basisDimension = 30
    #expect(throws: CetError.self) { try eigensolve(map, options, checkpoint: resume) }
  }
}
