import Testing

@testable import CetFormats

@Suite struct SHA256Tests {
  private func hex(_ text: String) -> String {
    var hash = SHA256()
    hash.update(Array(text.utf8))
    return hash.hexDigest()
  }

  /// NIST's examples for FIPS 180-4.
  @Test func digest_publishedExamples_agree() {
    #expect(hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
        == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    #expect(
      hex(
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu")
        == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1")
    #expect(
      hex(String(repeating: "a", count: 1_000_000))
        == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test func digest_fedInPieces_isThatOfTheWhole() {
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let whole = bytes.withUnsafeBytes { SHA256.hexDigest(of: $0) }
    for piece in [1, 3, 55, 56, 63, 64, 65, 127, 128, 200, 999] {
      var hash = SHA256()
      var start = 0
      while start < bytes.count {
        hash.update(Array(bytes[start..<min(start + piece, bytes.count)]))
        start += piece
      }
      #expect(hash.hexDigest() == whole, "pieces of \(piece)")
    }
  }

  @Test func digest_lengthsAroundABlock_areAllDifferent() {
    let digests = Set((0...130).map { hex(String(repeating: "x", count: $0)) })
    #expect(digests.count == 131)
  }
}
