import CetGraph
import CetOperators
import CetTensor

/// Where the rows of a matrix come from that a graph puts together from constants: the last axis stays whole, the others
/// are sliced, joined and added to. Exporters order the gates and directions of recurrent weights so.
struct RowOrigins {
  struct Row: Hashable {
    let constant: String
    let row: Int
  }
  /// The operand's shape without its last axis.
  private(set) var shape: [Int]
  /// In C order of `shape`.
  private(set) var rows: [Row]
  /// Constants that the rows are of.
  private(set) var constantCount = 1
  /// Gates and directions are a few.
  static let mostConstants = 64
  /// Nodes on the way.
  private(set) var nodes: Set<Int> = []

  private static let rowLimit = 1 << 17

  /// nil where the operand is made in another way, or of so many parts that nobody would.
  init?(of operand: String, _ index: GraphIndex) {
    var room = 4 * RowOrigins.rowLimit
    self.init(of: operand, index, depth: 0, &room)
  }

  /// - Parameter room: rows, and operators, that may still be looked at.
  private init?(of operand: String, _ index: GraphIndex, depth: Int, _ room: inout Int) {
    room -= 64
    guard room > 0 else { return nil }
    if let tensor = index.constants[operand] {
      guard tensor.rank >= 2, tensor.count > 0 else { return nil }
      shape = Array(tensor.shape.dropLast())
      room -= shape.elementCount
      guard shape.elementCount <= RowOrigins.rowLimit, room > 0 else { return nil }
      rows = (0..<shape.elementCount).map { Row(constant: operand, row: $0) }
      return
    }
    guard depth < 16, let producer = index.producer(of: operand) else { return nil }
    let node = index.nodes[producer]
    guard node.domain.isEmpty, node.outputs.first == operand else { return nil }
    var parts: [RowOrigins] = []
    for name in node.operatorType == "Concat" ? node.inputs : Array(node.inputs.prefix(1)) {
      guard let part = RowOrigins(of: name, index, depth: depth + 1, &room) else { return nil }
      parts.append(part)
    }
    guard let first = parts.first else { return nil }
    self = first
    nodes.insert(producer)
    switch node.operatorType {
    case "Identity", "Cast": break
    case "Unsqueeze":
      guard let axes = RowOrigins.ints(node, "axes", input: 1, index) else { return nil }
      let rank = shape.count + 1 + axes.count
      for axis in axes.map({ $0 < 0 ? $0 + rank : $0 }).sorted() {
        guard 0...shape.count ~= axis else { return nil }
        shape.insert(1, at: axis)
      }
      guard shape.count + 1 == rank else { return nil }
    case "Slice":
      guard let starts = RowOrigins.ints(node, "starts", input: 1, index), let ends = RowOrigins.ints(node, "ends", input: 2, index),
        starts.count == ends.count
      else { return nil }
      let axes = RowOrigins.ints(node, "axes", input: 3, index) ?? Array(starts.indices)
      let steps = RowOrigins.ints(node, "steps", input: 4, index) ?? starts.map { _ in 1 }
      guard axes.count == starts.count, steps.allSatisfy({ $0 == 1 }) else { return nil }
      for (position, axis) in axes.enumerated() {
        let axis = axis < 0 ? axis + shape.count + 1 : axis
        guard shape.indices ~= axis else { return nil }
        func bound(_ value: Int) -> Int { min(max(value < 0 ? value + shape[axis] : value, 0), shape[axis]) }
        keep(bound(starts[position])..<max(bound(starts[position]), bound(ends[position])), axis: axis)
      }
    case "Concat":
      guard case .int(let given)? = node.attributes["axis"] else { return nil }
      let axis = given < 0 ? Int(given) + shape.count + 1 : Int(given)
      guard shape.indices ~= axis else { return nil }
      for part in parts.dropFirst() {
        room -= rows.count
        guard room > 0, part.shape.count == shape.count, rows.count + part.rows.count <= RowOrigins.rowLimit,
          shape.indices.allSatisfy({ $0 == axis || shape[$0] == part.shape[$0] })
        else { return nil }
        append(part, axis: axis)
      }
    default: return nil
    }
  }

  /// Whether nothing outside this operand's making and the node that reads it sees the constant.
  func isOnlyUse(of constant: String, by reader: Int, _ index: GraphIndex) -> Bool {
    func isWithin(_ name: String) -> Bool {
      !index.isOutput(name) && index.readers(of: name).allSatisfy { nodes.contains($0) || $0 == reader }
    }
    return isWithin(constant) && nodes.allSatisfy { index.nodes[$0].outputs.allSatisfy(isWithin) }
  }

  private mutating func keep(_ range: Range<Int>, axis: Int) {
    let inner = shape[(axis + 1)...].reduce(1, *)
    let size = shape[axis]
    rows = rows.indices.filter { range.contains($0 / inner % size) }.map { rows[$0] }
    shape[axis] = range.count
  }

  private mutating func append(_ other: RowOrigins, axis: Int) {
    let (mine, its) = (shape[axis...].reduce(1, *), other.shape[axis...].reduce(1, *))
    let outer = shape[..<axis].reduce(1, *)
    var joined: [Row] = []
    joined.reserveCapacity(rows.count + other.rows.count)
    for place in 0..<outer {
      joined += rows[(place * mine)..<((place + 1) * mine)]
      joined += other.rows[(place * its)..<((place + 1) * its)]
    }
    rows = joined
    shape[axis] += other.shape[axis]
    constantCount += other.constantCount
    nodes.formUnion(other.nodes)
  }

  /// Whole numbers of an attribute, or since later operator sets of a constant input; nil where there are none.
  private static func ints(_ node: Node, _ name: String, input: Int, _ index: GraphIndex) -> [Int]? {
    if case .ints(let values)? = node.attributes[name] { return values.map { Int(clamping: $0) } }
    guard let tensor = index.constants[node.input(input)] else { return nil }
    if tensor.type == .int32 { return (try? tensor.array(as: Int32.self))?.map { Int($0) } }
    return tensor.type == .int64 ? (try? tensor.array(as: Int64.self))?.map { Int(clamping: $0) } : nil
  }
}

/// How a recurrent network reads a weight that others are joined with.
enum RecurrentRows {
  /// What the rows of `constant` (all of whose axes but two are 1) are multiplied with, for the network at `place`; nil where
  /// the rows are not used once each, or see values in no regular order.
  static func kind(
    _ constant: String, _ shape: [Int], _ origins: RowOrigins, place: Int, slot: Int, _ index: GraphIndex
  ) -> LinearLayer.Kind? {
    let node = index.nodes[place]
    guard shape.count >= 2, shape.dropLast(2).allSatisfy({ $0 == 1 }), origins.constantCount <= RowOrigins.mostConstants,
      origins.shape.count == 2, origins.isOnlyUse(of: constant, by: place, index)
    else { return nil }
    let (count, gates) = (shape[shape.count - 2], node.operatorType == "LSTM" ? 4 : node.operatorType == "GRU" ? 3 : 1)
    let perDirection = origins.shape[1]
    guard perDirection % gates == 0, perDirection > 0 else { return nil }
    var seen = [String?](repeating: nil, count: count)
    for (position, origin) in origins.rows.enumerated() where origin.constant == constant {
      guard seen[origin.row] == nil else { return nil }
      let gate = position % perDirection / (perDirection / gates)
      seen[origin.row] =
        slot == 1
        ? node.input(0)
        : recurrentStates(node, direction: position / perDirection, gate: node.operatorType == "GRU" && gate == 2 ? 2 : 0)
    }
    let names = seen.compactMap { $0 }
    guard names.count == count, let first = names.first else { return nil }
    if slot == 1 { return .matrix(rowsFirst: true) }
    if names.allSatisfy({ $0 == first }) { return .blocks([[first]]) }
    // Whole gates, in whatever order.
    guard gates > 1, count % gates == 0 else { return nil }
    let groups = (0..<gates).map { Array(names[($0 * count / gates)..<(($0 + 1) * count / gates)]) }
    guard groups.allSatisfy({ group in group.allSatisfy { $0 == group[0] } }) else { return nil }
    return .blocks(groups.map { [$0[0]] })
  }
}
