/// The linear relaxation: hull segments of all items by falling loss saved per cost, until the budget is used.
struct Relaxation {
  /// Loss per unit of cost at which the relaxed budget is used up.
  let price: Double
  let lowerBound: Double
  /// A feasible choice and its loss.
  let picks: [Int]
  let upperBound: Double
  /// Round-off of sums of losses: differences below it mean nothing.
  let noise: Double

  private struct Segment {
    let item: Int
    let option: Int
    let cost: Int
    let gain: Double
    var slope: Double { gain / Double(cost) }
  }

  init(_ items: [[Knapsack.Kept]], budget: Int) {
    var segments: [Segment] = []
    var room = budget
    var loss = 0.0
    var size = 0.0
    for (item, options) in items.enumerated() {
      room -= options[0].cost
      loss += options[0].loss
      size += options.reduce(0) { max($0, abs($1.loss)) }
      var hull = [0]  // lower convex hull: slopes fall along it
      for option in options.indices.dropFirst() {
        while hull.count >= 2 {
          let a = options[hull[hull.count - 2]], b = options[hull[hull.count - 1]], c = options[option]
          guard (a.loss - b.loss) * Double(c.cost - b.cost) <= (b.loss - c.loss) * Double(b.cost - a.cost) else { break }
          hull.removeLast()
        }
        hull.append(option)
      }
      for (from, to) in zip(hull, hull.dropFirst()) {
        segments.append(
          Segment(item: item, option: to, cost: options[to].cost - options[from].cost, gain: options[from].loss - options[to].loss))
      }
    }
    segments.sort { ($0.slope, -$0.item, -$0.option) > ($1.slope, -$1.item, -$1.option) }

    // Greedy: the first segment that does not fit sets the price; later ones that fit still improve the choice.
    var price = 0.0
    var blocked = Set<Int>()
    var picks = [Int](repeating: 0, count: items.count)
    for segment in segments {
      if !blocked.contains(segment.item) && segment.cost <= room {
        room -= segment.cost
        loss -= segment.gain
        picks[segment.item] = segment.option
      } else {
        blocked.insert(segment.item)
        if price == 0 { price = segment.slope }
      }
    }
    var bound = -price * Double(budget)
    for options in items { bound += options.reduce(Double.infinity) { min($0, $1.loss + price * Double($1.cost)) } }
    noise = 1e-12 * (size + price * Double(budget)) + .leastNormalMagnitude
    self.price = price
    self.picks = picks
    upperBound = loss
    lowerBound = bound
  }
}

/// The dynamic program over Pareto states with a trial gap: finds the best choice of loss ≤ lower bound + gap,
/// or nothing when there is none.
struct CoreSearch {
  private let items: [[Knapsack.Kept]]
  private let budget: Int
  private let gap: Double
  private let noise: Double
  private(set) var wasCut = false

  /// Reduced cost of every option: loss + λ cost minus the item's least. A choice costs λ · (unused budget) +
  /// Σ reduced costs above the lower bound.
  private let reducedCost: [[Double]]
  private let cheapest: [Int]
  private let price: Double

  private struct State {
    var cost: Int
    var loss: Double
    var excess: Double
    var parent: Int32
    var option: Int32
  }

  init(_ items: [[Knapsack.Kept]], _ relaxed: Relaxation, budget: Int, gap: Double) {
    self.items = items
    self.budget = budget
    self.gap = gap
    noise = relaxed.noise
    price = relaxed.price
    var reduced: [[Double]] = []
    var cheapest: [Int] = []
    for options in items {
      let values = options.map { $0.loss + relaxed.price * Double($0.cost) }
      let best = values.indices.min { values[$0] < values[$1] } ?? 0
      reduced.append(values.map { $0 - values[best] })
      cheapest.append(best)
    }
    reducedCost = reduced
    self.cheapest = cheapest
  }

  mutating func run() -> [Int]? {
    // Items without a second option inside the gap are decided; of the others, those with the dearest
    // alternatives come first, while there are few states.
    var picks = cheapest
    var open: [(item: Int, options: [Int], second: Double)] = []
    var room = budget
    for item in items.indices {
      let inside = items[item].indices.filter { reducedCost[item][$0] <= gap + noise }
      if inside.count <= 1 {
        room -= items[item][cheapest[item]].cost
      } else {
        let second = inside.filter { $0 != cheapest[item] }.map { reducedCost[item][$0] }.min() ?? 0
        open.append((item, inside, second))
      }
    }
    open.sort { ($0.second, $1.item) > ($1.second, $0.item) }
    var leastAfter = [Int](repeating: 0, count: open.count + 1)
    var mostAfter = leastAfter
    for i in open.indices.reversed() {
      let costs = open[i].options.map { items[open[i].item][$0].cost }
      leastAfter[i] = leastAfter[i + 1] + (costs.min() ?? 0)
      mostAfter[i] = mostAfter[i + 1] + (costs.max() ?? 0)
    }
    guard leastAfter[0] <= room else { return nil }

    let limit = max(4096, Knapsack.stateLimit / max(open.count, 1))
    var frontiers: [[State]] = [[State(cost: 0, loss: 0, excess: 0, parent: -1, option: -1)]]
    for (i, entry) in open.enumerated() {
      // The states of one option are in order of cost already: merging keeps the order without sorting.
      var frontier: [State] = []
      for option in entry.options {
        let kept = items[entry.item][option]
        let extra = reducedCost[entry.item][option]
        var states: [State] = []
        states.reserveCapacity(frontiers[i].count)
        for (parent, state) in frontiers[i].enumerated() {
          let excess = state.excess + extra
          let cost = state.cost + kept.cost
          guard cost + leastAfter[i + 1] <= room else { break }
          // What stays unused even if all later items take their dearest option is paid at the price.
          let unused = Double(max(0, room - cost - mostAfter[i + 1]))
          guard excess + price * unused <= gap + noise else { continue }
          states.append(
            State(cost: cost, loss: state.loss + kept.loss, excess: excess, parent: Int32(parent), option: Int32(option)))
        }
        frontier = CoreSearch.merged(frontier, states)
      }
      if frontier.count > limit {
        wasCut = true
        frontier = CoreSearch.thinned(frontier, to: limit)
      }
      guard !frontier.isEmpty else { return nil }
      frontiers.append(frontier)
    }

    // The frontier ends with the least loss. It counts only if it lies inside the gap.
    guard let final = frontiers.last, let best = final.indices.last else { return nil }
    let total = final[best].excess + price * Double(room - final[best].cost)
    guard total <= gap + noise else { return nil }
    var index = best
    for i in open.indices.reversed() {
      let state = frontiers[i + 1][index]
      picks[open[i].item] = Int(state.option)
      index = Int(state.parent)
    }
    return picks
  }

  /// The states of both lists that no other one beats in cost and loss, in ascending cost; of equals the earlier list's.
  private static func merged(_ a: [State], _ b: [State]) -> [State] {
    var result: [State] = []
    result.reserveCapacity(a.count + b.count)
    var (i, j) = (0, 0)
    var least = Double.infinity
    while i < a.count || j < b.count {
      let first = j == b.count || (i < a.count && (a[i].cost, a[i].loss) <= (b[j].cost, b[j].loss))
      let state = first ? a[i] : b[j]
      if first { i += 1 } else { j += 1 }
      if state.loss < least {
        least = state.loss
        result.append(state)
      }
    }
    return result
  }

  /// Of a frontier in ascending cost, the state of least excess in each of `count` equal ranges of cost: what is
  /// lost is at most one range of cost per item.
  private static func thinned(_ frontier: [State], to count: Int) -> [State] {
    guard let first = frontier.first, let last = frontier.last, last.cost > first.cost else { return frontier }
    let width = Double(last.cost - first.cost) / Double(count)
    var kept: [State] = []
    var current = -1
    for state in frontier {
      let range = Int(Double(state.cost - first.cost) / width)
      if range != current {
        kept.append(state)
        current = range
      } else if state.excess < kept[kept.count - 1].excess {
        kept[kept.count - 1] = state
      }
    }
    return kept
  }
}
