import CetQuantize
import Testing

/// What so many samples mean, as a table.
@Suite struct SamplePolicyTests {
  @Test(arguments: [
    // samples, copies of an image, say little, sequential pass, ridge, passes
    (1, 3, true, false, 0.5, 3),
    (8, 3, true, false, 0.5, 3),
    (9, 3, false, false, 0.5, 3),
    (15, 3, false, false, 0.5, 3),
    (16, 3, false, true, 0.5, 3),
    (64, 3, false, true, 0.5, 3),
    (65, 2, false, true, 0.5, 3),
    (86, 1, false, true, 0.5, 3),
    (100, 1, false, true, 0.5, 3),
    (128, 1, false, true, 0.41923076923076924, 3),
    (129, 0, false, true, 0.41778846153846155, 3),
    (255, 0, false, true, 0.2360576923076923, 3),
    (256, 0, false, true, 0.23461538461538461, 2),
    (512, 0, false, true, 0.05, 2),
    (4096, 0, false, true, 0.05, 2),
  ])
  func samples_decide(_ samples: Int, _ shifts: Int, _ little: Bool, _ sequential: Bool, _ ridge: Double, _ passes: Int) {
    #expect(SamplePolicy.imageShifts(samples: samples) == shifts)
    #expect(SamplePolicy.sayLittle(samples) == little)
    #expect(SamplePolicy.allowsSequentialPass(samples: samples) == sequential)
    #expect(abs(SamplePolicy.relativeRidge(samples: samples) - ridge) < 1e-12)
    let tried = SamplePolicy.sequentialPasses(samples: samples)
    #expect(tried.count == passes)
    #expect(tried.map(\.matchesVariance) == Array([false, true, true].prefix(passes)))
    #expect(tried[1].ridge == tried[0].ridge && tried.last?.ridge == (passes == 3 ? 4 : 1) * tried[0].ridge)
  }

  @Test(arguments: [(0, 4), (7, 4), (8, 1), (100, 1)])
  func heldOutSamples_decideAboutFolds(_ heldOut: Int, _ folds: Int) {
    let found = SamplePolicy.heldOutFolds(heldOut: heldOut)
    #expect(found == (folds == 1 ? [3] : [0, 1, 2, 3]))
  }

  @Test(arguments: [
    // patches, columns, damping, factor of the ridge, step
    (1, 4, 0.05, nil, 1),
    (2, 4, 0.05, 4.0, 1),
    (4, 4, 0.05, 2, 1),
    (8, 4, 0.05, 1, 1),
    (15, 4, 0.05, 1, 1),
    (16, 4, 0.03, 1, 1),
    (65535, 4, 0.03, 1, 1),
    (65536, 4, 0.03, 1, 2),
    (65536, 4096, 0.03, 1, 1),
    (196_608, 4096, 0.03, 1, 2),
  ] as [(Int, Int, Double, Double?, Int)])
  func patches_decide(_ patches: Int, _ columns: Int, _ damping: Double, _ factor: Double?, _ step: Int) {
    #expect(SamplePolicy.relativeDamping(patches: patches, columns: columns) == damping)
    #expect(SamplePolicy.ridgeFactor(patches: patches, columns: columns) == factor)
    #expect(SamplePolicy.patchStep(patches: patches, columns: columns) == step)
  }

  @Test func largeSamples_makeSmallBatches() {
    #expect([1, 32768, 32769, 1 << 20].map(SamplePolicy.batchSize) == [16, 16, 8, 8])
  }

  @Test func ridge_fallsWithSamples() {
    var previous = 0.5
    for samples in stride(from: 100, through: 520, by: 20) {
      let ridge = SamplePolicy.relativeRidge(samples: samples)
      #expect(ridge <= previous)
      previous = ridge
    }
  }
}
