import CetTensor

/// What each planned tensor loses at each bit width: Step 5's table, from which every budget is planned.
/// Losses are means over the calibration samples.
public struct SensitivityTable: Sendable, Hashable {
  public struct Entry: Sendable, Hashable {
    public var bits: Int
    /// Loss change measured by a forward pass with only this tensor quantized.
    public var measured: Double?
    /// ½ δᵀHδ for the same quantization error δ.
    public var predicted: Double?
    /// Bytes of the tensor in the file at this width: packed codes, scales, zero points, node overhead.
    public var storedBytes: Int
    /// Bits of the codes alone.
    public var codeBits: Int

    public init(bits: Int, measured: Double? = nil, predicted: Double? = nil, storedBytes: Int, codeBits: Int) {
      self.bits = bits
      self.measured = measured
      self.predicted = predicted
      self.storedBytes = storedBytes
      self.codeBits = codeBits
    }

    /// Measured when there is a measurement.
    public var loss: Double? { measured ?? predicted }
  }

  public struct Row: Sendable, Hashable {
    public var tensor: String
    /// Ascending bits, each width once.
    public private(set) var entries: [Entry]

    public init(tensor: String, entries: [Entry]) throws {
      self.tensor = tensor
      self.entries = entries.sorted { $0.bits < $1.bits }
      for (entry, next) in zip(self.entries, self.entries.dropFirst()) where entry.bits == next.bits {
        throw CetError(.invalidArgument, "tensor '\(tensor)' has two sensitivities for \(entry.bits) bits")
      }
      for entry in entries {
        guard let loss = entry.loss else {
          throw CetError(.invalidArgument, "tensor '\(tensor)' has no loss for \(entry.bits) bits")
        }
        guard loss.isFinite else { throw CetError(.numeric, "tensor '\(tensor)' at \(entry.bits) bits has a loss of \(loss)") }
        guard entry.storedBytes >= 0, entry.codeBits >= 0 else {
          throw CetError(.invalidArgument, "tensor '\(tensor)' at \(entry.bits) bits has a negative size")
        }
      }
    }

    /// Losses for the allocation, in the order of `entries`: never negative, and K[b] = min of K[b'] over b' ≤ b.
    /// Every code of b' bits is a code of b bits, so that a larger measured loss at more bits is noise.
    public func monotoneLosses(_ loss: (Entry) -> Double? = { $0.loss }) -> [Double] {
      var least = Double.infinity
      return entries.map { entry in
        least = min(least, max(loss(entry) ?? .infinity, 0))
        return least
      }
    }

    public func entry(bits: Int) -> Entry? { entries.first { $0.bits == bits } }
  }

  public private(set) var rows: [Row]

  public init(_ rows: [Row] = []) throws {
    self.rows = []
    for row in rows { try append(row) }
  }

  public mutating func append(_ row: Row) throws {
    guard self.row(row.tensor) == nil else {
      throw CetError(.invalidArgument, "tensor '\(row.tensor)' is in the sensitivity table twice")
    }
    guard !row.entries.isEmpty else {
      throw CetError(.invalidArgument, "tensor '\(row.tensor)' has no bit widths in the sensitivity table")
    }
    rows.append(row)
  }

  public func row(_ tensor: String) -> Row? { rows.first { $0.tensor == tensor } }

  /// What the budget counts.
  public enum Size: Sendable {
    case storedBytes, codeBits
  }

  /// The widths chosen for every tensor.
  public struct Allocation: Sendable {
    public var bits: [String: Int]
    public var solution: Knapsack.Solution
    /// The tensors of each knapsack item, in the order of the solution's items.
    public var items: [[String]]
  }

  /// One item per tensor; the tensors of a group share one width and are one item. `factors` scales a tensor's
  /// losses (Step 5b). A group offers the widths that all its tensors have.
  public func items(
    groups: [[String]] = [], factors: [String: Double] = [:], size: Size = .storedBytes,
    loss: (Entry) -> Double? = { $0.loss }
  ) throws -> (tensors: [[String]], widths: [[Int]], options: [[Knapsack.Option]]) {
    var grouped = Set<String>()
    for tensor in groups.joined() {
      guard row(tensor) != nil else { throw CetError(.invalidArgument, "tensor '\(tensor)' of a group is not in the sensitivity table") }
      guard grouped.insert(tensor).inserted else { throw CetError(.invalidArgument, "tensor '\(tensor)' is in two groups") }
    }
    let tensors = groups.filter { !$0.isEmpty } + rows.map(\.tensor).filter { !grouped.contains($0) }.map { [$0] }
    var widths: [[Int]] = []
    var options: [[Knapsack.Option]] = []
    for members in tensors {
      let rows = members.compactMap { row($0) }
      let common = rows[0].entries.map(\.bits).filter { bits in rows.allSatisfy { $0.entry(bits: bits) != nil } }
      guard !common.isEmpty else {
        throw CetError(.invalidArgument, "the tensors of the group of '\(members[0])' have no bit width in common")
      }
      let losses = rows.map { $0.monotoneLosses(loss) }
      options.append(
        common.map { bits in
          var option = Knapsack.Option(cost: 0, loss: 0)
          for (row, losses) in zip(rows, losses) {
            guard let index = row.entries.firstIndex(where: { $0.bits == bits }) else { continue }
            option.cost += size == .storedBytes ? row.entries[index].storedBytes : row.entries[index].codeBits
            option.loss += losses[index] * (factors[row.tensor] ?? 1)
          }
          return option
        })
      widths.append(common)
    }
    return (tensors, widths, options)
  }

  /// Step 6: the widths of least predicted loss whose total size is within the budget (bytes or bits, see `size`).
  public func allocate(
    budget: Int, groups: [[String]] = [], factors: [String: Double] = [:], size: Size = .storedBytes,
    loss: (Entry) -> Double? = { $0.loss }
  ) throws -> Allocation {
    let (tensors, widths, options) = try items(groups: groups, factors: factors, size: size, loss: loss)
    return SensitivityTable.allocation(tensors, widths, try Knapsack.solve(options, budget: budget))
  }

  /// The smallest total size whose predicted loss is at most `maximumLoss`.
  public func allocate(
    maximumLoss: Double, groups: [[String]] = [], factors: [String: Double] = [:], size: Size = .storedBytes,
    loss: (Entry) -> Double? = { $0.loss }
  ) throws -> Allocation {
    let (tensors, widths, options) = try items(groups: groups, factors: factors, size: size, loss: loss)
    return SensitivityTable.allocation(tensors, widths, try Knapsack.solve(options, maximumLoss: maximumLoss))
  }

  private static func allocation(_ tensors: [[String]], _ widths: [[Int]], _ solution: Knapsack.Solution) -> Allocation {
    var bits: [String: Int] = [:]
    for (item, members) in tensors.enumerated() {
      for tensor in members { bits[tensor] = widths[item][solution.choice[item]] }
    }
    return Allocation(bits: bits, solution: solution, items: tensors)
  }
}
