import FoundationEssentials
import Glibc

/// What onnxruntime does with a file, when Python has it: the tool asks `python3`, and says so where there is none.
struct StockRuntime {
  private struct Findings: Decodable {
    var version: String?
    var missing: String?
    var error: String?
    var load_ms: Double?
    var latency_ms: Double?
    var original_latency_ms: Double?
    var samples: Int?
    var max_abs_difference: Double?
    var top1_agreement: Double?
  }

  private let findings: Findings
  let json: JSONText

  /// Loads the file, runs the samples one by one, and those of the original beside it.
  static func run(_ path: String, data: String, against: String?, threads: UInt32) throws -> StockRuntime {
    let answer = try output(of: ["python3", "-c", script, path, data, against ?? "", String(threads)])
    guard let line = answer.split(separator: "\n").last.map(String.init),
      let findings = try? JSONDecoder().decode(Findings.self, from: Data(line.utf8))
    else { return StockRuntime(findings: Findings(missing: "python3 did not start or gave no answer")) }
    if let error = findings.error { throw Failure("onnxruntime: \(error)") }
    return StockRuntime(findings: findings, line)
  }

  private init(findings: Findings, _ document: String? = nil) {
    self.findings = findings
    json = .document(document ?? JSONText.object([("missing", findings.missing.map { .string($0) } ?? .null)]).text)
  }

  var lines: [(name: String, value: String)] {
    if let missing = findings.missing { return [("onnxruntime", "not run: \(missing)")] }
    var latency = "\(fixed(findings.latency_ms ?? .nan)) ms a sample (median)"
    if let original = findings.original_latency_ms { latency += ", the original \(fixed(original)) ms" }
    var lines = [("onnxruntime", "\(findings.version ?? "?"), loaded in \(fixed(findings.load_ms ?? .nan, 0)) ms"), ("latency", latency)]
    if let difference = findings.max_abs_difference {
      let agreement = findings.top1_agreement.map { ", top-1 agreement \(fixed(100 * $0))%" } ?? ""
      lines.append(("agreement", "max|diff| \(scientific(difference)) on \(findings.samples ?? 0) samples\(agreement)"))
    }
    return lines
  }

  /// Standard output of a program; "" where it cannot be started.
  private static func output(of arguments: [String]) throws -> String {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw Failure("cannot make a pipe: \(systemReason())") }
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
    posix_spawn_file_actions_addclose(&actions, ends[0])
    var process = pid_t()
    var memory = CMemory()
    defer { memory.free() }
    var words: [UnsafeMutablePointer<CChar>?] = arguments.map { UnsafeMutablePointer(mutating: memory.text($0)) }
    words.append(nil)
    let status = posix_spawnp(&process, arguments[0], &actions, nil, words, environ)
    close(ends[1])
    guard status == 0 else { return "" }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(ends[0], &chunk, chunk.count)
      if count < 0, errno == EINTR, !Interrupt.isRequested { continue }
      guard count > 0 else { break }
      bytes.append(contentsOf: chunk[..<count])
    }
    if Interrupt.isRequested { kill(process, SIGTERM) }
    var code: Int32 = 0
    waitpid(process, &code, 0)
    try Interrupt.check()
    return String(decoding: bytes, as: UTF8.self)
  }

  private static let script = """
    import json, os, sys, time
    def end(**found):
        print(json.dumps(found)); sys.exit()
    try:
        import numpy as np, onnxruntime as ort
    except ImportError as error:
        end(missing=f"{sys.executable} has no {error.name}")
    path, data, against, threads = sys.argv[1:]
    try:
        options = ort.SessionOptions(); options.intra_op_num_threads = int(threads); options.log_severity_level = 3
        begun = time.perf_counter()
        small = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        load = time.perf_counter() - begun
        large = ort.InferenceSession(against, options, providers=["CPUExecutionProvider"]) if against else None
        names = [each.name for each in small.get_inputs()]
        if os.path.isdir(data):
            arrays = {name: np.load(os.path.join(data, name + ".npy")) for name in names}
        else:
            with np.load(data) as file:
                arrays = {name: file[name] for name in names}
        types = {each.name: each.type for each in small.get_inputs()}
        for name, array in arrays.items():
            if array.dtype == np.float16 and types[name] == "tensor(float)":
                arrays[name] = array.astype(np.float32)
        shape = small.get_inputs()[0].shape
        size = shape[0] if shape and isinstance(shape[0], int) else 1
        count = min(len(arrays[names[0]]), 64 * size) // size * size
        def run(session, feed):
            begun = time.perf_counter()
            outputs = session.run(None, feed)
            return (time.perf_counter() - begun) / size * 1e3, outputs
        times, originals, difference, same, rows = [], [], 0.0, 0, 0
        for first in range(0, count, size):
            feed = {name: array[first:first + size] for name, array in arrays.items()}
            if first == 0:
                run(small, feed)
                if large: run(large, feed)
            milliseconds, found = run(small, feed); times.append(milliseconds)
            if large:
                milliseconds, expected = run(large, feed); originals.append(milliseconds)
                for a, b in zip(found, expected):
                    if a.dtype.kind != "f":
                        continue
                    difference = max(difference, float(np.abs(a.astype(np.float64) - b).max()))
                if found[0].ndim >= 2 and found[0].shape[-1] >= 2:
                    agree = found[0].argmax(-1) == expected[0].argmax(-1)
                    same += int(agree.sum()); rows += agree.size
        result = dict(version=ort.__version__, load_ms=load * 1e3, latency_ms=float(np.median(times)), samples=count)
        if large:
            result.update(original_latency_ms=float(np.median(originals)), max_abs_difference=difference,
                          top1_agreement=same / rows if rows else None)
    except Exception as error:
        end(error=" ".join(str(error).split()))
    end(**result)
    """
}
