/// What the number of samples decides: every threshold on it. Figures behind them are in docs/experiments.md.
public enum SamplePolicy {
  // MARK: Batches

  /// Samples of a batch at most, where a sample has so many input elements.
  public static func batchSize(elements: Int) -> Int { elements > 1 << 15 ? 8 : 16 }

  /// Parts that samples are cut into at least, where there are as many: batches are held out whole, one of `folds`, and
  /// there should be two of those.
  public static let holdOutParts = 8

  /// For curvature products: each batch transforms the weights and has an output of the size of the parameter vector, so
  /// few large ones are best. It matters below 16 samples only; more make batches of the largest size.
  public static let curvatureParts = 2

  /// Samples of a batch of a plain run.
  public static let runBatchSize = 32

  /// Samples that are looked at together where every batch has one: whether they influence each other decides about a
  /// model, not about a batch size.
  public static let lookedAtTogether = 4

  // MARK: Holding out

  /// Batches are dealt to so many folds. One of them is held out, the last where not each is in turn.
  public static let folds = 4

  /// Folds that are held out in turn: one, where its samples say enough, else all of them (cross-validation). Of fewer than
  /// some 32 samples every fourth is too few to tell.
  /// - Parameter heldOut: samples of the last fold.
  public static func heldOutFolds(heldOut: Int) -> [Int] { heldOut >= 8 ? [folds - 1] : Array(0..<folds) }

  /// Held-out samples that losses of single layers are measured on even where more are not affordable: for the table that
  /// bits are chosen by, to compare it with second order, and to compare the steps of a layer.
  public static let fewestForTable = 32
  public static let fewestForSecondOrder = 8
  public static let fewestForSteps = 8

  /// Losses, one a sample, that an interval of their mean is told from.
  public static let fewestForInterval = 8

  /// Up to so many samples, held-out ones and covariances say next to nothing.
  public static func sayLittle(_ samples: Int) -> Bool { samples <= 8 }

  // MARK: Statistics of inputs

  /// Copies of every image, moved by a few pixels, beside it: they lower the loss up to 256 images of both kinds and three
  /// copies.
  public static func imageShifts(samples: Int) -> Int { max(0, min(3, 256 / max(1, samples) - 1)) }

  /// Every how many patches of an input one is taken. Patches beyond some number change a covariance less than the rounding
  /// that uses it.
  public static func patchStep(patches: Int, columns: Int) -> Int { max(1, patches / max(32768, 24 * columns)) }

  /// The least λ of rounding relative to the mean input variance; `Shrinkage` may ask for more. Fewer patches than unknowns leave
  /// directions that no patch has shown: they get more.
  public static func relativeDamping(patches: Int, columns: Int) -> Double { patches < 4 * columns ? 0.05 : 0.03 }

  // MARK: Step 7

  /// Whether layers are fitted one after the other. With fewer samples every layer is rounded by itself. Of 8 images that a
  /// network was trained on each can lose less with Step 7 when it is held out, and new images a fifth more.
  public static func allowsSequentialPass(samples: Int) -> Bool { samples >= 16 }

  /// Ridges of Step 7 that are tried, with and without variance matching (Step 7b).
  /// - Parameter samples: that the pass is fitted to.
  public static func sequentialPasses(samples: Int) -> [(ridge: Double, matchesVariance: Bool)] {
    let ridge = relativeRidge(samples: samples)
    // Of less than some 250 samples more ridge is often better, of more hardly ever.
    return [(ridge, false), (ridge, true)] + (samples < 256 ? [(4 * ridge, true)] : [])
  }

  /// Relative to the mean input variance: 0.05 from 512 samples on, 0.5 at 100 or fewer, even in between on a log scale.
  public static func relativeRidge(samples: Int) -> Double {
    guard samples > 100 else { return 0.5 }
    guard samples < 512 else { return 0.05 }
    let position = (Double(samples).doublings - 100.0.doublings) / (512.0.doublings - 100.0.doublings)
    return 0.5 + (0.05 - 0.5) * position
  }

  /// How many times a layer's ridge is that of its samples: with fewer than two patches a column the fit would follow them.
  /// nil with fewer than half a patch a column: nothing is fitted.
  public static func ridgeFactor(patches: Int, columns: Int) -> Double? {
    2 * patches >= columns ? max(1, 2 * Double(columns) / Double(patches)) : nil
  }
}

extension Double {
  /// A piecewise linear logarithm to base 2, exact at powers of two.
  fileprivate var doublings: Double { Double(exponent) + significand - 1 }
}
