import CCet
import CetTensor

/// A body on its way through C.
private final class Body {
  let run: (Int) -> Void
  init(_ run: @escaping (Int) -> Void) { self.run = run }
}

/// The host's threads that options name; nil for the library's own.
func hostThreads(_ pointer: UnsafePointer<cet_executor>?) throws(CetError) -> HostThreads? {
  guard pointer != nil else { return nil }
  let c = try SizedStruct.read(pointer, cet_executor(), "cet_executor")
  guard let parallelFor = c.parallel_for else { throw invalid("executor: parallel_for is NULL") }
  guard c.reserved == 0 else { throw invalid("cet_executor: reserved is \(c.reserved), expected 0") }
  nonisolated(unsafe) let userData = c.user_data
  return HostThreads { count, run in
    withoutActuallyEscaping(run) { run in
      let body = Unmanaged.passRetained(Body(run))
      defer { body.release() }
      parallelFor(
        count,
        { index, data in
          if let data { Unmanaged<Body>.fromOpaque(data).takeUnretainedValue().run(index) }
        }, body.toOpaque(), userData)
    }
  }
}
