import CetGraph
import CetTensor
import Glibc
import Testing

@testable import CetONNX

/// Our reader beside libprotobuf's, through examples/onnx-judge: CET_ONNX_JUDGE names the program. CET_JUDGED_MODELS names folders,
/// separated by ":", whose .onnx files are read by both. Without the program there is nothing to compare with.
@Suite(.enabled(if: getenv("CET_ONNX_JUDGE") != nil))
struct JudgeTests {
  static let fixtures = ReaderTests.fixtures.map { fixturePath($0 + ".onnx") }

  /// Files that are there: fixtures, and what the folders hold.
  static func files() -> [String] {
    let folders = getenv("CET_JUDGED_MODELS").map { String(cString: $0).split(separator: ":").map(String.init) } ?? []
    return fixtures + folders.flatMap { modelFiles(below: $0) }
  }

  @Test func everyField_ofEveryFile_readsAsLibprotobufReadsIt() throws {
    let files = JudgeTests.files()
    var (equal, known) = (0, 0)
    for (path, found) in zip(files, try Judge.dumps(of: files)) {
      guard case .read(let text) = found else {
        Issue.record("\(path): libprotobuf refuses it")
        continue
      }
      do {
        #expect(sorted(ModelDump.text(try ModelFile(path: path).model)) == sorted(text), "\(path)")
        equal += 1
      } catch {
        // Files of the onnx package's suite that are of none of our operator sets.
        #expect(error.message.contains("expected operator set"), "\(path): \(error.message)")
        known += 1
      }
    }
    print("judged: \(equal) files read alike, \(known) of other operator sets")
  }

  /// Without an edit every byte is as it was; an edit of the metadata alone appends its entry to them.
  @Test func everyFile_writtenWithoutAPlan_isTheSameBytes() throws {
    var entry = WireWriter()
    entry.message(ModelField.metadata, MessageEncoder().entry("judge", "1"))
    var named = ModelEdit()
    named.metadata = [("judge", "1")]
    var count = 0
    for path in JudgeTests.files() {
      guard let file = try? ModelFile(path: path), file.externalByteCount == 0 else { continue }
      let bytes = file.withBytes { Array($0) }
      #expect(try ModelWriter.write(edit: ModelEdit(), of: file) == bytes, "\(path)")
      #expect(try ModelWriter.write(edit: named, of: file) == bytes + Array(entry), "\(path)")
      count += 1
    }
    #expect(count >= 9)
  }

  // MARK: Damaged files

  /// What our reader refuses in a file that libprotobuf parses: text that is not UTF-8, and models that contradict themselves or
  /// that are of no version that it knows. Each has its own message; any other refusal is a difference.
  static let ownRules: [(part: String, why: String)] = [
    ("expected UTF-8 text", "names and texts go out as UTF-8"),
    ("without a graph", "nothing to read"), ("0 bytes", "nothing to read"),
    ("expected IR version 3 or later", "no graph of these versions has operator sets"),
    ("expected operator set", "no operator set that the library knows"),
    ("the model imports no operator set", "the node means nothing"),
    ("is both", "two versions of an operator set"),
    ("no operator type", "the node means nothing"), ("has no name", "nothing can read it"),
    ("is given twice", "two values of an attribute"), ("defines it twice", "two values of an initializer"),
    ("is listed twice", "two inputs of a name"), ("exists already", "two producers of a value"),
    ("nothing before it produces its input", "no order of the nodes"), ("nothing in the graph produces it", "no output"),
    ("expected a name without zero bytes", "it would end there in the C interface"),
    ("is negative or too large", "no such shape"), ("the element type is undefined", "no such tensor"),
    ("numbers, shape", "another count than the shape's"), ("bytes, shape", "another size than the shape's"),
    ("strings, shape", "another count than the shape's"), ("are both present", "two contents of a tensor"),
    ("the tensor is missing", "no value of the attribute's type"), ("the graph is missing", "no value of the attribute's type"),
    ("the sparse tensor is missing", "no value of the attribute's type"),
    ("which a model loaded from memory cannot reach", "no folder to look in"), ("external data has", "no such place"),
    ("has a segment", "libonnx's checker refuses it, too"), ("in several parts", "no one place of external data"),
    ("indices are", "no places in the sparse tensor"), ("is outside", "a place outside of the sparse tensor"),
  ]

  /// Seeded damage of small files: libprotobuf and our reader refuse the same encodings, and what both read is equal in every field.
  @Test(arguments: ["structure", "branches", "old_ir", "constants", "linear", "functions"])
  func damagedFile_isReadOrRefusedAsByLibprotobuf(name: String) throws {
    let data = try name == "functions" ? JudgeTests.functions() : readBytes(fixturePath("onnx/\(name).onnx"))
    let folder = TemporaryFolder()
    var random = Random(seed: 61)
    var paths: [String] = []
    for index in 0..<1500 {
      let path = "\(folder.path)/\(index).onnx"
      let damaged = Damage.some(of: data, &random)
      if damaged.isEmpty { continue }
      try writeBytes(damaged, path)
      paths.append(path)
    }
    var seen: [String: Int] = [:]
    for (path, found) in zip(paths, try Judge.dumps(of: paths)) {
      let kind = try compare(readBytes(path), found)
      seen[kind, default: 0] += 1
      if kind == "different" { _ = rename(path, "/tmp/cet-judge-different-\(name).onnx") }
    }
    print("judged: \(name), damaged: " + seen.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", "))
    #expect(seen["different"] == nil, "\(name): \(seen); the last is kept as /tmp/cet-judge-different-\(name).onnx")
    #expect(seen["equal", default: 0] > 100 && seen["refused by both", default: 0] > 100, "\(name): \(seen)")
  }

  private func compare(_ bytes: [UInt8], _ found: Judge.Reading) -> String {
    do {
      let text = ModelDump.text(try ModelFile(bytes: bytes).model)
      guard case .read(let theirs) = found else {
        Issue.record("our reader takes what libprotobuf does not: \(found)")
        return "different"
      }
      if sorted(text) == sorted(theirs) { return "equal" }
      let pair = zip(sorted(text), sorted(theirs)).first { $0 != $1 }
      Issue.record("read otherwise: \(pair.map { "\($0) | \($1)" } ?? "another number of lines")")
      return "different"
    } catch {
      // The encoding is one thing, which both must judge alike; what it says is another.
      let isEncoding = error.message.hasPrefix("not a readable ONNX file") && !error.message.contains("UTF-8")
      switch found {
      case .refused(let why) where why.contains("does not parse") == isEncoding:
        return isEncoding ? "refused by both" : "a contradiction to both"
      case .read where !isEncoding && JudgeTests.ownRules.contains { error.message.contains($0.part) }:
        return "refused by a rule of ours"
      default: break
      }
      Issue.record("refused otherwise: \(error.message) | \(found)")
      return "different"
    }
  }

  /// Lines of a dump; initializers, whose order means nothing, sorted among themselves: sparse ones are in a field of their own.
  private func sorted(_ text: String) -> [Substring] {
    var lines = text.split(separator: "\n")
    var start = 0
    while start < lines.count {
      func key(_ line: Substring) -> Substring? {
        let indent = line.prefix { $0 == " " }
        return ["initializer ", "opaque '"].contains { line.dropFirst(indent.count).hasPrefix($0) } ? indent : nil
      }
      var end = start + 1
      if let indent = key(lines[start]) {
        while end < lines.count, key(lines[end]) == indent { end += 1 }
        lines[start..<end].sort()
      }
      start = end
    }
    return lines
  }

  /// A model with functions, whose attributes have defaults and are referred to.
  private static func functions() throws -> [UInt8] {
    let graph = Graph(
      name: "g", nodes: [Node("Twice", domain: "own", name: "n", inputs: ["x"], outputs: ["y"], attributes: ["by": .float(2)])],
      initializers: [], inputs: [value("x")], outputs: [value("y")])
    let function = Function(
      name: "Twice", domain: "own", inputs: ["a"], outputs: ["b"], attributeNames: ["by"], attributeDefaults: ["to": .ints([1, 2])],
      nodes: [
        Node("Constant", inputs: [], outputs: ["c"], attributes: ["value": .tensor(try initializer("", floats(3), [3]))]),
        Node("Mul", inputs: ["a", "c"], outputs: ["b"]),
      ], opsets: ["": 17])
    return try ModelWriter.write(
      Model(opsets: ["": 17, "own": 1], producer: "p", graph: graph, functions: [function], metadata: [("k", "v")]))
  }
}
