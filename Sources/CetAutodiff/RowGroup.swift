import CetOperators
import CetTensor

/// A matrix whose rows are computed independently of each other.
struct RowDomain: Hashable {
  let rows: Int
  let width: Int

  /// How a value belongs to the rows.
  enum Form {
    /// `width` numbers a row, one number a row, one row for all, one number for all.
    case wide, narrow, row, scalar
  }

  /// nil for values that are repeated in another way.
  func form(of value: Value) -> Form? {
    guard value.element == .float32 else { return nil }
    let last = value.shape.last ?? 1
    if last == width, value.count == rows * width { return .wide }
    if last == 1, value.count == rows { return .narrow }
    if last == width, value.count == width { return .row }
    return value.count == 1 ? .scalar : nil
  }
}

/// What a step does to rows.
enum RowWork: Sendable {
  case unary(Elementwise.Unary)
  case binary(Elementwise.Binary)
  case gate
  case sum
  case softmax
  case standardize(epsilon: Double)
  /// Another shape of the same rows.
  case alias

  /// nil when the step is none that goes through these rows.
  init?(_ step: Step, in domain: RowDomain, _ program: Program) {
    let inputs = step.inputs.map { domain.form(of: program.values[$0]) }
    let output = domain.form(of: program.values[step.outputs[0]])
    switch step.primitive {
    case let unary as Unary:
      guard let kernel = unary.vectorKernel, inputs[0] == output, output == .wide || output == .narrow else { return nil }
      self = .unary(kernel)
    case let binary as Binary:
      if binary.function == .gate, inputs[0] == .wide, inputs[1] == .wide, output == .wide {
        self = .gate
        return
      }
      guard let kernel = binary.vectorKernel, let a = inputs[0], let b = inputs[1] else { return nil }
      switch output {
      case .wide: guard a == .wide || b == .wide else { return nil }
      case .narrow: guard a == .narrow || b == .narrow, ![a, b].contains(.row) else { return nil }
      default: return nil
      }
      self = .binary(kernel)
    case let sum as Sum:
      guard inputs[0] == .wide, output == .narrow, sum.axes == [program.values[step.inputs[0]].rank - 1] else { return nil }
      self = .sum
    case let softmax as Softmax:
      guard !softmax.logarithmic, inputs[0] == .wide else { return nil }
      self = .softmax
    case let standardize as Standardize:
      guard inputs[0] == .wide else { return nil }
      self = .standardize(epsilon: standardize.epsilon)
    case is Reshape:
      guard inputs[0] == output, output == .wide || output == .narrow else { return nil }
      self = .alias
    default: return nil
    }
  }
}

/// Steps that go through the rows of one matrix together: a block of rows passes all of them while it is in the cache, and
/// what nobody else reads is never in memory. The numbers are those of the steps one by one.
struct RowGroup: Sendable {
  /// An operand or a result: `place` is an index of the memory that a run has.
  private struct Port: Sendable {
    let place: Int
    let form: RowDomain.Form
  }
  private struct Member: Sendable {
    let work: RowWork
    let inputs: [Port]
    let outputs: [Port]
  }
  /// What the group leaves behind: the value whose memory it is, or has, in the shape of `id`.
  struct Result: Sendable {
    let id: Int
    let memory: Int
  }

  private let domain: RowDomain
  /// The first, for messages.
  let step: Step
  private var members: [Member] = []
  /// Values that are read, by place.
  let operands: [Int]
  /// Values that are made in memory of their own, by place after the operands.
  let made: [Int]
  let results: [Result]
  /// Places after these are scratch memory; its width by place.
  private var scratch: [Int] = []
  private let blockRows: Int

  /// - Parameter isRead: whether a value is read outside the group.
  init(_ steps: [Int], in domain: RowDomain, _ program: Program, isRead: (Int) -> Bool) {
    self.domain = domain
    step = program.steps[steps[0]]
    // Reshaped values are the values that they were made from.
    var origin: [Int: Int] = [:]
    func root(_ id: Int) -> Int { origin[id] ?? id }
    var inner: Set<Int> = []
    var operands: [Int] = []
    var results: [Result] = []
    for index in steps {
      let step = program.steps[index]
      for input in step.inputs where !inner.contains(root(input)) && !operands.contains(root(input)) { operands.append(root(input)) }
      if step.primitive is Reshape { origin[step.outputs[0]] = root(step.inputs[0]) } else { inner.formUnion(step.outputs) }
      for output in step.outputs where isRead(output) { results.append(Result(id: output, memory: root(output))) }
    }
    var made: [Int] = []
    for result in results where inner.contains(result.memory) && !made.contains(result.memory) { made.append(result.memory) }
    self.operands = operands
    self.made = made
    self.results = results
    blockRows = max(1, min(domain.rows, 2048 / domain.width))

    var places = Dictionary(uniqueKeysWithValues: (operands + made).enumerated().map { ($1, $0) })
    var lastUse: [Int: Int] = [:]
    for (position, index) in steps.enumerated() {
      for id in program.steps[index].inputs + program.steps[index].outputs { lastUse[root(id)] = position }
    }
    var free: [Int: [Int]] = [:]  // by width, places of scratch memory
    for (position, index) in steps.enumerated() {
      let step = program.steps[index]
      guard let work = RowWork(step, in: domain, program) else { continue }
      if case .alias = work { continue }
      func port(_ id: Int) -> Port {
        Port(place: places[root(id)] ?? 0, form: domain.form(of: program.values[id]) ?? .scalar)
      }
      for output in step.outputs where places[output] == nil {
        let width = domain.form(of: program.values[output]) == .wide ? domain.width : 1
        if let place = free[width]?.popLast() {
          places[output] = place
        } else {
          places[output] = operands.count + made.count + scratch.count
          scratch.append(width)
        }
      }
      members.append(Member(work: work, inputs: step.inputs.map(port), outputs: step.outputs.map(port)))
      for id in Set((step.inputs + step.outputs).map(root)).sorted() where lastUse[id] == position {
        guard let place = places[id], place >= operands.count + made.count else { continue }
        free[scratch[place - operands.count - made.count], default: []].append(place)
      }
    }
  }

  var scratchBytes: Int { 4 * blockRows * scratch.reduce(0, +) }

  /// The values that the group leaves behind.
  func run(_ program: Program, _ tensors: [Tensor], _ context: ComputeContext) throws(CetError) -> [(id: Int, tensor: Tensor)] {
    let read = try tensors.map { tensor throws(CetError) in try tensor.rowMajor(arena: context.arena) }
    let written = try made.map { id throws(CetError) in
      try Tensor(uninitialized: .float32, program.values[id].shape, arena: context.arena)
    }
    let room = try Tensor(uninitialized: .float32, [scratchBytes / 4], arena: context.arena)
    var bases = (read + written).map(\.floats)
    var offset = 0
    for width in scratch {
      bases.append(room.floats + offset)
      offset += width * blockRows
    }
    // Scratch memory and what all rows share stay where they are from block to block.
    let outer = (operands + made).map { id in
      switch domain.form(of: program.values[id]) {
      case .wide: domain.width
      case .narrow: 1
      default: 0
      }
    }
    withExtendedLifetime((read, written, room)) {
      for start in stride(from: 0, to: domain.rows, by: blockRows) {
        let rows = min(blockRows, domain.rows - start)
        for member in members { compute(member, rows, bases) }
        for place in outer.indices { bases[place] += outer[place] * rows }
      }
    }
    let memory = Dictionary(zip(operands + made, read + written), uniquingKeysWith: { $1 })
    var shaped: [(id: Int, tensor: Tensor)] = []
    for result in results {
      guard let tensor = memory[result.memory] else { continue }
      shaped.append((result.id, try tensor.reshaped(program.values[result.id].shape)))
    }
    return shaped
  }

  private func compute(_ member: Member, _ rows: Int, _ bases: [UnsafeMutablePointer<Float>]) {
    let (x, out) = (member.inputs[0], member.outputs[0])
    let (a, z) = (UnsafePointer(bases[x.place]), bases[out.place])
    let width = out.form == .wide ? domain.width : 1
    switch member.work {
    case .unary(let function): Elementwise.apply(function, a, into: z, count: rows * width)
    case .binary(let operation):
      let y = member.inputs[1]
      let b = UnsafePointer(bases[y.place])
      if x.form == out.form {
        combine(operation, a, b, y.form, z, rows, width, whole: out.form)
      } else {
        combine(operation.swapped, b, a, x.form, z, rows, width, whole: out.form)
      }
    case .gate: Elementwise.reluMask(a, bases[member.inputs[1].place], into: z, count: rows * width)
    case .sum: Reduction.sumRows(a, into: z, rows: rows, columns: domain.width)
    case .softmax: Reduction.softmaxRows(a, into: z, rows: rows, columns: domain.width)
    case .standardize(let epsilon):
      Reduction.standardizeRows(
        a, into: z, inverse: bases[member.outputs[1].place], epsilon: epsilon, rows: rows, columns: domain.width)
    case .alias: break
    }
  }

  /// `a` has the form of the result.
  @inline(__always)
  private func combine(
    _ operation: Elementwise.Binary, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ form: RowDomain.Form,
    _ z: UnsafeMutablePointer<Float>, _ rows: Int, _ width: Int, whole: RowDomain.Form
  ) {
    if form == whole {
      Elementwise.apply(operation, a, b, into: z, count: rows * width)
    } else if form == .scalar {
      Elementwise.apply(operation, a, scalar: b[0], into: z, count: rows * width)
    } else if form == .row {
      Elementwise.apply(operation, a, row: b, into: z, rows: rows, columns: width)
    } else {
      Elementwise.apply(operation, a, column: b, into: z, rows: rows, columns: width)
    }
  }
}
