import CetQuantize

/// Where the levels of a written tensor may lie.
struct GridForm: Sendable {
  let granularity: Granularity
  let encoding: Encoding

  /// What zero points count in: halves where a level between two codes is worth having. It depends on the bits and the
  /// encoding alone, so that the size of a file is known before its codes are. DequantizeLinear has whole zero points:
  /// 3 bits lie in 4 there and have room for doubled codes, 2 bits have none.
  func zeroUnit(bits: Int) -> Int { bits == 3 || bits < 3 && encoding != .qdq ? 2 : 1 }
}

extension PlanOptions {
  var gridForm: GridForm { GridForm(granularity: granularity, encoding: encoding) }
}
