#if CET_ONEDNN
  import CKernels
  import COneDNN
  import Glibc

  /// The only user of oneDNN's functions (2.x; 3.x spells descriptors differently). Activations are
  /// channels-last, weights are in the format the primitive prefers, behind a reorder from and to plain ones.
  /// A method that returns nil leaves the case to OpenBLAS.
  final class OneDNN: @unchecked Sendable {
    private let engine: dnnl_engine_t
    private let cache = OneDNNCache()

    init?() {
      var engine: dnnl_engine_t?
      guard dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success, let engine else { return nil }
      self.engine = engine
    }

    deinit { dnnl_engine_destroy(engine) }

    static func check(_ status: dnnl_status_t, _ what: String) throws(CetError) {
      guard status != dnnl_success else { return }
      if status == dnnl_out_of_memory { throw CetError(.outOfMemory, "\(what): oneDNN is out of memory") }
      throw CetError(.internal, "\(what): oneDNN status \(status.rawValue)")
    }

    // MARK: Convolution

    func forward(
      _ g: ConvolutionGeometry, input: Tensor, weight: Tensor, bias: Tensor?, addingTo: Tensor?, _ context: ComputeContext
    ) throws(CetError) -> Tensor? {
      // With a sum, oneDNN 2.6 forgets the bias where a window lies in the padding entirely: added afterwards.
      let fusedBias = addingTo == nil ? bias : nil
      let key = OneDNNKey(geometry: g, kind: .forward, bias: fusedBias != nil, sum: addingTo != nil)
      guard let compiled = try convolution(key) else { return nil }
      let result =
        try addingTo.or(Tensor(uninitialized: .float32, g.outputShape, layout: .channelsLast, arena: context.arena))
      try withCall(context) { call throws(CetError) in
        let blocked = try call.blocked(weight, compiled)
        try call.bind(DNNL_ARG_SRC, compiled.input, input.pointer)
        try call.bind(DNNL_ARG_WEIGHTS, compiled.weight, blocked)
        if let fusedBias { try call.bind(DNNL_ARG_BIAS, compiled.bias, fusedBias.pointer) }
        try call.bind(DNNL_ARG_DST, compiled.output, result.pointer)
        try call.execute(compiled.primitive, "convolution")
      }
      if let bias, fusedBias == nil {
        ck_add_row_f32(result.floats, bias.floats, result.floats, result.count / g.outputChannels, g.outputChannels)
      }
      return result
    }

    func inputGradient(
      _ g: ConvolutionGeometry, outputGradient: Tensor, weight: Tensor, _ context: ComputeContext
    ) throws(CetError) -> Tensor? {
      guard let compiled = try convolution(OneDNNKey(geometry: g, kind: .inputGradient)) else { return nil }
      let result = try Tensor(uninitialized: .float32, g.inputShape, layout: .channelsLast, arena: context.arena)
      try withCall(context) { call throws(CetError) in
        let blocked = try call.blocked(weight, compiled)
        try call.bind(DNNL_ARG_DIFF_DST, compiled.output, outputGradient.pointer)
        try call.bind(DNNL_ARG_WEIGHTS, compiled.weight, blocked)
        try call.bind(DNNL_ARG_DIFF_SRC, compiled.input, result.pointer)
        try call.execute(compiled.primitive, "convolution input gradient")
      }
      return result
    }

    func weightGradient(
      _ g: ConvolutionGeometry, input: Tensor, outputGradient: Tensor, _ context: ComputeContext
    ) throws(CetError) -> Tensor? {
      guard let compiled = try convolution(OneDNNKey(geometry: g, kind: .weightGradient)) else { return nil }
      let result = try Tensor(uninitialized: .float32, g.weightShape, arena: context.arena)
      try withCall(context) { call throws(CetError) in
        let target = compiled.reorder == nil ? result.pointer : try call.memory(compiled.weightBytes)
        try call.bind(DNNL_ARG_SRC, compiled.input, input.pointer)
        try call.bind(DNNL_ARG_DIFF_DST, compiled.output, outputGradient.pointer)
        try call.bind(DNNL_ARG_DIFF_WEIGHTS, compiled.weight, target)
        try call.execute(compiled.primitive, "convolution weight gradient")
        if let reorder = compiled.reorder {
          try call.bind(DNNL_ARG_FROM, compiled.weight, target)
          try call.bind(DNNL_ARG_TO, compiled.plainWeight, result.pointer)
          try call.execute(reorder, "weight gradient reorder")
        }
      }
      return result
    }

    private func convolution(_ key: OneDNNKey) throws(CetError) -> OneDNNConvolution? {
      try OneDNN.prepare()
      guard 1...3 ~= key.geometry.spatialRank else { return nil }
      return try cache.convolution(key) { () throws(CetError) in try compile(key) }
    }

    private func compile(_ key: OneDNNKey) throws(CetError) -> OneDNNConvolution? {
      let g = key.geometry
      let spatial = g.spatialRank
      let grouped = g.groups > 1
      let weightShape = grouped ? [g.groups, g.outputChannels / g.groups] + g.weightShape[1...] : g.weightShape
      let activations = [dnnl_nwc, dnnl_nhwc, dnnl_ndhwc][spatial - 1]
      let weights = (grouped ? [dnnl_goiw, dnnl_goihw, dnnl_goidhw] : [dnnl_oiw, dnnl_oihw, dnnl_oidhw])[spatial - 1]
      guard let input = describe(g.inputShape, activations), let output = describe(g.outputShape, activations),
        let anyWeight = describe(weightShape, dnnl_format_tag_any), let plainWeight = describe(weightShape, weights),
        let bias = describe([g.outputChannels], dnnl_x)
      else { return nil }

      var operation = dnnl_convolution_desc_t()
      let strides = g.strides.map(Int64.init)
      let dilations = g.dilations.map { Int64($0 - 1) }
      let begins = g.padsBegin.map(Int64.init)
      let ends = g.padsEnd.map(Int64.init)
      let initialised = withUnsafePointers(input, anyWeight, bias, output) { input, weight, bias, output in
        switch key.kind {
        case .forward:
          dnnl_dilated_convolution_forward_desc_init(
            &operation, dnnl_forward_inference, dnnl_convolution_direct, input, weight, key.bias ? bias : nil, output,
            strides, dilations, begins, ends)
        case .inputGradient:
          dnnl_dilated_convolution_backward_data_desc_init(
            &operation, dnnl_convolution_direct, input, weight, output, strides, dilations, begins, ends)
        case .weightGradient:
          dnnl_dilated_convolution_backward_weights_desc_init(
            &operation, dnnl_convolution_direct, input, weight, nil, output, strides, dilations, begins, ends)
        }
      }
      guard initialised == dnnl_success else { return nil }

      return try withOneThread { () throws(CetError) in
        // The gradients exist only next to a forward primitive, which tells them the algorithm.
        var hint: dnnl_primitive_desc_t?
        defer { if let hint { dnnl_primitive_desc_destroy(hint) } }
        if key.kind != .forward {
          var forward = dnnl_convolution_desc_t()
          let status = withUnsafePointers(input, anyWeight, bias, output) { input, weight, _, output in
            dnnl_dilated_convolution_forward_desc_init(
              &forward, dnnl_forward_training, dnnl_convolution_direct, input, weight, nil, output, strides, dilations,
              begins, ends)
          }
          guard status == dnnl_success, dnnl_primitive_desc_create(&hint, &forward, nil, engine, nil) == dnnl_success
          else { return nil }
        }
        let attributes = try Attributes(sum: key.sum)
        var descriptor: dnnl_primitive_desc_t?
        let status = dnnl_primitive_desc_create(&descriptor, &operation, attributes.handle, engine, hint)
        defer { if let descriptor { dnnl_primitive_desc_destroy(descriptor) } }
        if status == dnnl_out_of_memory { try OneDNN.check(status, "convolution") }
        let query = key.kind == .weightGradient ? dnnl_query_diff_weights_md : dnnl_query_weights_md
        guard status == dnnl_success, let descriptor, !OneDNN.isReference(descriptor),
          let weight = dnnl_primitive_desc_query_md(descriptor, query, 0)
        else { return nil }
        let primitive = try OneDNNPrimitive(descriptor, "convolution")
        return OneDNNConvolution(
          primitive: primitive, input: input, output: output, weight: weight.pointee, plainWeight: plainWeight,
          bias: bias,
          reorder: key.kind == .weightGradient
            ? try reorder(weight.pointee, plainWeight) : try reorder(plainWeight, weight.pointee))
      }
    }

    /// Whether the library has nothing but its plain loops for the case: im2col and a matrix product are faster.
    private static func isReference(_ descriptor: dnnl_primitive_desc_t) -> Bool {
      var name: UnsafePointer<CChar>?
      guard dnnl_primitive_desc_query(descriptor, dnnl_query_impl_info_str, 0, &name) == dnnl_success, let name else { return false }
      return strncmp(name, "ref", 3) == 0
    }

    /// nil when both formats are the same.
    private func reorder(_ from: dnnl_memory_desc_t, _ to: dnnl_memory_desc_t) throws(CetError) -> OneDNNPrimitive? {
      try withUnsafePointers(from, to, from, to) { from, to, _, _ throws(CetError) in
        guard dnnl_memory_desc_equal(from, to) == 0 else { return nil }
        let attributes = try Attributes(sum: false)
        var descriptor: dnnl_primitive_desc_t?
        try OneDNN.check(
          dnnl_reorder_primitive_desc_create(&descriptor, from, engine, to, engine, attributes.handle), "reorder")
        guard let descriptor else { throw CetError(.internal, "reorder: oneDNN made no descriptor") }
        defer { dnnl_primitive_desc_destroy(descriptor) }
        return try OneDNNPrimitive(descriptor, "reorder")
      }
    }

    private func describe(_ shape: [Int], _ tag: dnnl_format_tag_t) -> dnnl_memory_desc_t? {
      var descriptor = dnnl_memory_desc_t()
      let sizes = shape.map(Int64.init)
      guard dnnl_memory_desc_init_by_tag(&descriptor, Int32(sizes.count), sizes, dnnl_f32, tag) == dnnl_success
      else { return nil }
      return descriptor
    }

    // MARK: Memory

    /// oneDNN makes the code of its matrix products when they are first asked for, 18 MB of it, and ends the process where it cannot.
    private static let preparation = (lock: Lock(), bytes: 24 << 20)
    nonisolated(unsafe) private static var isPrepared = false

    /// Where there is a limit on addresses: throws where it leaves little, after all that is made once was made.
    static func prepare() throws(CetError) {
      guard SystemMemory.isLimited else { return }
      try SystemMemory.checkHeadroom()
      try preparation.lock.withLock { () throws(CetError) in
        guard !isPrepared else { return }
        guard SystemMemory.hasRoom(for: preparation.bytes) else {
          throw CetError(.outOfMemory, "the process's limit on addresses leaves less than \(preparation.bytes) bytes for generated code")
        }
        var values = (Float(0), Float(0), Float(0))
        try withOneThread { () throws(CetError) in
          for (a, b) in [("N", "N"), ("N", "T"), ("T", "N"), ("T", "T")] {
            for beta: Float in [0, 1] {
              let (a, b) = (CChar(a.utf8.first ?? 0), CChar(b.utf8.first ?? 0))
              try check(dnnl_sgemm(a, b, 1, 1, 1, 1, &values.0, 1, &values.1, 1, beta, &values.2, 1), "matrix product")
            }
          }
        }
        isPrepared = true
      }
    }

    // MARK: Matrix product

    /// c = alpha op(a) op(b) + beta c, row-major with row strides.
    static func multiply(
      _ a: UnsafePointer<Float>, stride strideA: Int, transposed transposeA: Bool, _ b: UnsafePointer<Float>,
      stride strideB: Int, transposed transposeB: Bool, into c: UnsafeMutablePointer<Float>, stride strideC: Int,
      alpha: Float = 1, beta: Float, _ m: Int, _ n: Int, _ k: Int
    ) throws(CetError) {
      try OneDNN.prepare()
      let (no, yes) = (CChar(UInt8(ascii: "N")), CChar(UInt8(ascii: "T")))
      try withOneThread { () throws(CetError) in
        try check(
          dnnl_sgemm(
            transposeA ? yes : no, transposeB ? yes : no, Int64(m), Int64(n), Int64(k), alpha, a, Int64(strideA), b,
            Int64(strideB), beta, c, Int64(strideC)), "matrix product")
      }
    }

    // MARK: Calls

    /// Primitives are compiled for and executed on one thread, whatever the caller's OpenMP setting is: some
    /// of them wait for as many threads as they were compiled for.
    private static func withOneThread<Result>(_ body: () throws(CetError) -> Result) throws(CetError) -> Result {
      let before = omp_get_max_threads()
      if before == 1 { return try SignalGuard.run(body) }
      omp_set_num_threads(1)
      defer { omp_set_num_threads(before) }
      return try SignalGuard.run(body)
    }

    private func withOneThread<Result>(_ body: () throws(CetError) -> Result) throws(CetError) -> Result {
      try OneDNN.withOneThread(body)
    }

    private func withCall(_ context: ComputeContext, _ body: (inout Call) throws(CetError) -> Void) throws(CetError) {
      try OneDNN.prepare()
      try withOneThread { () throws(CetError) in
        var stream: dnnl_stream_t?
        try OneDNN.check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags.rawValue), "stream")
        guard let stream else { throw CetError(.internal, "oneDNN made no stream") }
        defer { dnnl_stream_destroy(stream) }
        var call = Call(engine: engine, stream: stream, arena: context.arena)
        defer { call.release() }
        try body(&call)
      }
    }

    /// Arguments and temporary memory of one kernel call.
    private struct Call {
      let engine: dnnl_engine_t
      let stream: dnnl_stream_t
      let arena: Arena
      private var arguments: [dnnl_exec_arg_t] = []
      private var held: [Storage] = []

      init(engine: dnnl_engine_t, stream: dnnl_stream_t, arena: Arena) {
        self.engine = engine
        self.stream = stream
        self.arena = arena
      }

      /// Memory that lives until the end of the call.
      mutating func memory(_ byteCount: Int) throws(CetError) -> UnsafeMutableRawPointer {
        let storage = try arena.storage(byteCount: byteCount)
        held.append(storage)
        return storage.pointer
      }

      mutating func bind(
        _ argument: Int32, _ descriptor: dnnl_memory_desc_t, _ pointer: UnsafeMutableRawPointer?
      ) throws(CetError) {
        var memory: dnnl_memory_t?
        try withUnsafePointer(to: descriptor) { descriptor throws(CetError) in
          try OneDNN.check(dnnl_memory_create(&memory, descriptor, engine, pointer), "memory")
        }
        arguments.append(dnnl_exec_arg_t(arg: argument, memory: memory))
      }

      /// The plain weight in the format the convolution wants.
      mutating func blocked(_ weight: Tensor, _ convolution: OneDNNConvolution) throws(CetError) -> UnsafeMutableRawPointer {
        guard let reorder = convolution.reorder else { return weight.pointer }
        let target = try memory(convolution.weightBytes)
        try bind(DNNL_ARG_FROM, convolution.plainWeight, weight.pointer)
        try bind(DNNL_ARG_TO, convolution.weight, target)
        try execute(reorder, "weight reorder")
        return target
      }

      mutating func execute(_ primitive: OneDNNPrimitive, _ what: String) throws(CetError) {
        if let scratchpad = primitive.scratchpad, primitive.scratchpadBytes > 0 {
          try bind(DNNL_ARG_SCRATCHPAD, scratchpad, try memory(primitive.scratchpadBytes))
        }
        try OneDNN.check(dnnl_primitive_execute(primitive.handle, stream, Int32(arguments.count), arguments), what)
        try OneDNN.check(dnnl_stream_wait(stream), what)
        destroyArguments()
      }

      mutating func release() {
        destroyArguments()
        held.removeAll()
      }

      private mutating func destroyArguments() {
        for argument in arguments { dnnl_memory_destroy(argument.memory) }
        arguments.removeAll(keepingCapacity: true)
      }
    }

    /// User scratchpad, so that concurrent executions of one primitive do not share memory.
    private final class Attributes {
      let handle: dnnl_primitive_attr_t

      init(sum: Bool) throws(CetError) {
        var made: dnnl_primitive_attr_t?
        try OneDNN.check(dnnl_primitive_attr_create(&made), "attributes")
        guard let made else { throw CetError(.internal, "oneDNN made no attributes") }
        handle = made
        try OneDNN.check(dnnl_primitive_attr_set_scratchpad_mode(handle, dnnl_scratchpad_mode_user), "attributes")
        guard sum else { return }
        var operations: dnnl_post_ops_t?
        try OneDNN.check(dnnl_post_ops_create(&operations), "post-operations")
        defer { dnnl_post_ops_destroy(operations) }
        try OneDNN.check(dnnl_post_ops_append_sum(operations, 1), "post-operations")
        try OneDNN.check(dnnl_primitive_attr_set_post_ops(handle, operations), "post-operations")
      }

      deinit { dnnl_primitive_attr_destroy(handle) }
    }
  }

  private func withUnsafePointers<Result, Failure>(
    _ a: dnnl_memory_desc_t, _ b: dnnl_memory_desc_t, _ c: dnnl_memory_desc_t, _ d: dnnl_memory_desc_t,
    _ body: (
      UnsafePointer<dnnl_memory_desc_t>, UnsafePointer<dnnl_memory_desc_t>, UnsafePointer<dnnl_memory_desc_t>,
      UnsafePointer<dnnl_memory_desc_t>
    ) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try withUnsafePointer(to: a) { a throws(Failure) in
      try withUnsafePointer(to: b) { b throws(Failure) in
        try withUnsafePointer(to: c) { c throws(Failure) in
          try withUnsafePointer(to: d) { d throws(Failure) in try body(a, b, c, d) }
        }
      }
    }
  }
#endif
