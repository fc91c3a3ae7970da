import CetTensor

/// What is known of an unquantized network on some batches: variances of its layers' outputs, and what layers read at the patches
/// that are taken. It is the same whatever a plan is, so that fitting for another budget runs the other network alone.
public final class UnquantizedReadings: @unchecked Sendable {
  /// What a layer reads of a batch, in runs of patches.
  struct Reading: Sendable {
    /// By convolution group and run: patches, or their products with the group's weights, one a line.
    let lines: [[Tensor]]
    /// By run the residual operand at the patches, [patches × channels]; empty: none.
    let residual: [Tensor]
    /// The residual that was looked for; nil: none was.
    let residualName: String?

    var byteCount: Int { lines.joined().reduce(0) { $0 + $1.byteCount } + residual.reduce(0) { $0 + $1.byteCount } }
  }

  private struct Place: Hashable {
    let layer: Int
    let batch: Int
  }

  private let lock = Lock()
  private var variances: [Int: [Double]] = [:]
  private var readings: [Place: Reading] = [:]
  private var inputs: [Place: Tensor] = [:]
  private var held = 0
  private var room: Int

  /// - Parameter room: bytes that readings may take. They are kept all or not at all: what is missing costs a run of the network.
  public init(room: Int = 0) { self.room = room }

  public var byteCount: Int { lock.withLock { held } }

  /// Sets the room anew; readings that are larger are forgotten.
  public func limit(to room: Int) {
    lock.withLock {
      self.room = room
      if held > room { forget() }
    }
  }

  private func forget() {
    (readings, inputs, held) = ([:], [:], 0)
    // Those of later layers alone would be of no use.
    room = 0
  }

  // MARK: Variances, by layer index, one a channel

  subscript(variances layer: Int) -> [Double]? { lock.withLock { variances[layer] } }

  /// Variances of outputs, made when first asked for.
  func variances(_ layer: Int, _ make: () throws(CetError) -> [Double]) throws(CetError) -> [Double] {
    if let known = self[variances: layer] { return known }
    let made = try make()
    lock.withLock { variances[layer] = made }
    return made
  }

  // MARK: Readings, by layer index and the batch's place

  /// - Parameter residual: that is looked for; nil: none.
  func reading(_ layer: Int, _ batch: Int, residual: String?) -> Reading? {
    guard let known = lock.withLock({ readings[Place(layer: layer, batch: batch)] }) else { return nil }
    return residual == nil || residual == known.residualName ? known : nil
  }

  func input(_ layer: Int, _ batch: Int) -> Tensor? { lock.withLock { inputs[Place(layer: layer, batch: batch)] } }

  /// Whether there is room for anything, so that what is made should be made to last.
  var isOpen: Bool { lock.withLock { room > held } }

  func keep(_ reading: Reading, _ layer: Int, _ batch: Int) {
    keep(bytes: reading.byteCount) { readings[Place(layer: layer, batch: batch)] = reading }
  }

  func keep(_ input: Tensor, _ layer: Int, _ batch: Int) {
    keep(bytes: input.byteCount) { inputs[Place(layer: layer, batch: batch)] = input }
  }

  private func keep(bytes: Int, _ put: () -> Void) {
    lock.withLock {
      guard room > 0 else { return }
      held += bytes
      if held <= room { put() } else { forget() }
    }
  }
}
