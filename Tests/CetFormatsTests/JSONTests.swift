import CetTensor
import Testing

@testable import CetFormats

@Suite struct JSONTests {
  private func failure(_ text: String) -> String? {
    do {
      _ = try JSON.parse(text)
      return nil
    } catch {
      return error.code == .invalidArgument ? error.message : "code \(error.code)"
    }
  }

  @Test func double_anyFiniteValue_readsBackWithTheSameBits() throws {
    var random = Random(seed: 1)
    var values = [0, -0.0, 1, -1, 0.1, 1.0 / 3, .leastNonzeroMagnitude, 2.2250738585072014e-308, .greatestFiniteMagnitude, 1e15, 1e16, 1e22]
    values += (0..<20_000).map { _ in Double(bitPattern: random.next()) }.filter(\.isFinite)
    for value in values {
      let text = JSON.double(value).serialized(indented: false)
      let field = JSONFields(try JSON.parse(text), document: "JSON")
      #expect(try field.double().bitPattern == value.bitPattern, "\(value) as \(text)")
    }
  }

  @Test func double_notFinite_isNull() {
    #expect(JSON.double(.nan) == .null)
    #expect(JSON.double(.infinity) == .null)
    #expect(JSON.double(nil) == .null)
  }

  @Test func integer_largestUnsigned_survives() throws {
    let parsed = try JSON.parse(JSON.integer(UInt64.max).serialized(indented: false))
    #expect(try JSONFields(parsed, document: "JSON").integer(0...UInt64.max) == UInt64.max)
    #expect(throws: CetError.self) { try JSONFields(parsed, document: "JSON").integer(0...Int64.max) }
  }

  @Test func string_anyScalar_survives() throws {
    var text = (0..<0x300).compactMap { Unicode.Scalar($0) }.reduce(into: "") { $0.unicodeScalars.append($1) }
    text += "\u{2028}\u{FFFD}\u{10FFFF}👩‍👩‍👧 \"quoted\" \\ /"
    let written = JSON.string(text).serialized(indented: false)
    #expect(try JSON.parse(written) == .string(text))
    #expect(!written.utf8.contains { $0 < 0x20 })
  }

  @Test func escapes_allForms_areRead() throws {
    #expect(try JSON.parse(#""\"\\\/\b\f\n\r\t\u0041\u00e9\uD83D\uDE00""#) == .string("\"\\/\u{8}\u{c}\n\r\tAé😀"))
    #expect(failure(#""\uD83D""#)?.contains("unpaired surrogate") == true)
    #expect(failure(#""\uDE00\uD83D""#)?.contains("unpaired surrogate") == true)
    #expect(failure(#""\uD83D\u0041""#)?.contains("unpaired surrogate") == true)
    #expect(failure(#""\u00g0""#)?.contains("hexadecimal") == true)
    #expect(failure(#""\x""#)?.contains("unknown escape") == true)
  }

  @Test func document_written_readsBackEqual() throws {
    let value = JSON.object([
      .init("a", .array([.integer(1), .bool(true), .null, .array([]), .object([])])),
      .init("b", .object([.init("c", .string("d")), .init("", .double(-1.5e-7))])),
      .init("long", .object((0..<6).map { (k: Int) in .init("k\(k)", .integer(k)) })),
    ])
    #expect(try JSON.parse(value.serialized()) == value)
    #expect(try JSON.parse(value.serialized(indented: false)) == value)
    #expect(!value.serialized(indented: false).contains("\n"))
  }

  @Test(arguments: [
    "", " ", "{", "[", "[1,]", "{\"a\":1,}", "{a:1}", "'a'", "01", "-", "1.", ".5", "1e", "+1", "NaN", "Infinity", "tru",
    "nulll", "[1 2]", "{\"a\" 1}", "\"a", "\"\t\"", "1 2", "// c\n1", "{\"a\":1,\"a\":2}", "1e999", "\u{FEFF}1", "[1]]",
  ])
  func document_outsideOfTheGrammar_isRefused(_ text: String) {
    let message = failure(text)
    #expect(message?.hasPrefix("JSON line ") == true, "\(text)")
  }

  @Test func document_invalidUTF8_isRefused() {
    let bytes: [UInt8] = [0x22, 0xC3, 0x28, 0x22]
    #expect(throws: CetError.self) { try bytes.withUnsafeBytes { try JSON.parse($0) } }
  }

  @Test func document_nestedTooDeep_isRefused() {
    let deep = String(repeating: "[", count: 100_000)
    #expect(failure(deep)?.contains("nested deeper") == true)
    let fine = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
    #expect(failure(fine) == nil)
  }

  @Test func error_position_countsLinesAndCharacters() {
    #expect(failure("{\n  \"é\": ?}")?.hasPrefix("JSON line 2, column 8:") == true)
  }

  @Test func document_randomBytes_neverTraps() {
    var random = Random(seed: 7)
    let alphabet = Array("{}[]\",:0123456789.eE+-truefalsn\\u \n\u{e9}".utf8)
    for _ in 0..<20_000 {
      let bytes = (0..<Int(random.next() % 24)).map { _ in alphabet[Int(random.next() % UInt64(alphabet.count))] }
      _ = bytes.withUnsafeBytes { raw in try? JSON.parse(raw) }
    }
  }
}
