#if CET_ONEDNN
  import COneDNN

  /// What one oneDNN convolution is compiled for.
  struct OneDNNKey: Hashable {
    var geometry: ConvolutionGeometry
    var kind: Convolution.Kind
    var bias = false
    var sum = false
  }

  /// A compiled primitive. oneDNN allows concurrent execution as long as every call brings its own scratchpad.
  final class OneDNNPrimitive: @unchecked Sendable {
    let handle: dnnl_primitive_t
    let scratchpad: dnnl_memory_desc_t?
    let scratchpadBytes: Int

    /// Takes the primitive out of `descriptor`; the caller still owns the descriptor.
    init(_ descriptor: dnnl_primitive_desc_t, _ what: String) throws(CetError) {
      var created: dnnl_primitive_t?
      try OneDNN.check(dnnl_primitive_create(&created, descriptor), what)
      guard let created else { throw CetError(.internal, "\(what): oneDNN made no primitive") }
      handle = created
      if let memory = dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0) {
        scratchpad = memory.pointee
        scratchpadBytes = dnnl_memory_desc_get_size(memory)
      } else {
        scratchpad = nil
        scratchpadBytes = 0
      }
    }

    deinit { dnnl_primitive_destroy(handle) }
  }

  /// One side of the triangle: the primitive, and the reorder between plain and blocked weights if they differ.
  final class OneDNNConvolution: @unchecked Sendable {
    let primitive: OneDNNPrimitive
    let input: dnnl_memory_desc_t
    let output: dnnl_memory_desc_t
    let weight: dnnl_memory_desc_t
    let weightBytes: Int
    let plainWeight: dnnl_memory_desc_t
    let bias: dnnl_memory_desc_t
    let reorder: OneDNNPrimitive?

    init(
      primitive: OneDNNPrimitive, input: dnnl_memory_desc_t, output: dnnl_memory_desc_t, weight: dnnl_memory_desc_t,
      plainWeight: dnnl_memory_desc_t, bias: dnnl_memory_desc_t, reorder: OneDNNPrimitive?
    ) {
      self.primitive = primitive
      self.input = input
      self.output = output
      self.weight = weight
      self.plainWeight = plainWeight
      self.bias = bias
      self.reorder = reorder
      weightBytes = withUnsafePointer(to: weight) { dnnl_memory_desc_get_size($0) }
    }
  }

  /// Compiled convolutions by what they were compiled for. A refusal is remembered too, so that a case that
  /// oneDNN does not support is asked for once.
  final class OneDNNCache: @unchecked Sendable {
    private enum Entry {
      case compiled(OneDNNConvolution)
      case refused

      var convolution: OneDNNConvolution? {
        if case .compiled(let convolution) = self { convolution } else { nil }
      }
    }

    private let lock = Lock()
    private var entries: [OneDNNKey: Entry] = [:]
    /// Far above the number of convolutions and products of a network; it bounds a process that meets ever new sizes.
    private let capacity = 4096

    /// Compiles outside the lock: two threads may compile the same key, the first result stays.
    func convolution(
      _ key: OneDNNKey, compile: () throws(CetError) -> OneDNNConvolution?
    ) throws(CetError) -> OneDNNConvolution? {
      if let entry = lock.withLock({ entries[key] }) { return entry.convolution }
      let made = try compile()
      return lock.withLock {
        if let entry = entries[key] { return entry.convolution }
        if entries.count >= capacity { entries.removeAll() }
        entries[key] = made.map(Entry.compiled) ?? .refused
        return made
      }
    }
  }
#endif
