import CetOperators
import CetTensor

/// The tensors that a run of a program holds, by value.
struct RunValues {
  let program: Program
  private var tensors: [Tensor?]

  init(_ program: Program, _ feeds: [Int: Tensor] = [:]) {
    self.program = program
    tensors = [Tensor?](repeating: nil, count: program.values.count)
    feed(feeds)
  }

  mutating func feed(_ feeds: [Int: Tensor]) { for (id, tensor) in feeds { tensors[id] = tensor } }

  subscript(id: Int) -> Tensor? {
    get { tensors[id] }
    set { tensors[id] = newValue }
  }

  func holds(_ id: Int) -> Bool {
    if case .constant = program.sources[id] { return true }
    return tensors[id] != nil
  }

  /// The contents of a value that the program knows, was fed or has computed.
  func fetch(_ id: Int) throws(CetError) -> Tensor {
    if case .constant(let tensor) = program.sources[id] { return tensor }
    if let tensor = tensors[id] { return tensor }
    throw switch program.sources[id] {
    case .input(let name): CetError(.invalidArgument, "input '\(name)' is not given")
    case .parameter(let name), .tangent(let name): CetError(.internal, "parameter '\(name)' is not given")
    default: CetError(.internal, "value \(id) was not computed")
    }
  }
}
