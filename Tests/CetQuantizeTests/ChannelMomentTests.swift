import CetTensor
import Testing

@testable import CetQuantize

@Suite struct ChannelMomentTests {
  /// Column k of channel c of patches [rows][k][channels].
  private static func channel(_ patches: [Float], _ c: Int, rows: Int, columns: Int, channels: Int) -> [Float] {
    (0..<(rows * columns)).map { patches[$0 * channels + c] }
  }

  /// 21 channels: a whole run of lanes and a part of one; 700 patches: a whole chunk and a part of one; 25 and 10 places: whole
  /// tiles of 9 and a part of one.
  @Test(arguments: [(9, 21, 700), (25, 3, 40), (1, 16, 513), (10, 32, 33)])
  func channels_covariances_twoPassReference(columns: Int, channels: Int, rows: Int) throws {
    let a = Problems.patches(rows: rows, columns: columns * channels, seed: 1, mean: 2)
    let b = Problems.patches(rows: rows, columns: columns * channels, seed: 2, mean: -1)
    var own = try ChannelMoment(dimension: columns, channels: channels, symmetric: true)
    var cross = try ChannelMoment(dimension: columns, channels: channels, symmetric: false)
    try a.withUnsafeBufferPointer { a in
      try b.withUnsafeBufferPointer { b in
        let (a, b) = (try #require(a.baseAddress), try #require(b.baseAddress))
        try own.add(a, rows: rows)
        try cross.add(a, b, rows: rows)
      }
    }
    #expect(own.count == rows)
    for c in 0..<channels {
      let x = ChannelMomentTests.channel(a, c, rows: rows, columns: columns, channels: channels)
      let y = ChannelMomentTests.channel(b, c, rows: rows, columns: columns, channels: channels)
      for centred in [true, false] {
        for (found, expected) in [
          (own.covariance(c, centred: centred), SecondMomentTests.reference(x, x, rows: rows, centred: centred)),
          (cross.covariance(c, centred: centred), SecondMomentTests.reference(x, y, rows: rows, centred: centred)),
        ] {
          let size = expected.map(abs).max() ?? 1
          for (p, q) in zip(found, expected) { #expect(abs(p - q) <= SecondMomentTests.tolerance * max(size, 0.1)) }
        }
      }
      for j in 0..<columns {
        let mean = (0..<rows).reduce(0.0) { $0 + Double(y[$1 * columns + j]) } / Double(rows)
        #expect(abs(cross.rightMean(c)[j] - mean) <= 1e-6)
      }
    }
  }

  @Test func halves_merged_twoPassReference() throws {
    let (rows, columns, channels) = (300, 4, 5)
    let patches = Problems.patches(rows: rows, columns: columns * channels, seed: 3, mean: 100)
    var sum = try ChannelMoment(dimension: columns, channels: channels, symmetric: true)
    try patches.withUnsafeBufferPointer { p in
      let first = try #require(p.baseAddress)
      var rest = sum
      try sum.add(first, rows: 90)
      try rest.add(first + 90 * columns * channels, rows: rows - 90)
      try sum.merge(rest)
    }
    for c in 0..<channels {
      let x = ChannelMomentTests.channel(patches, c, rows: rows, columns: columns, channels: channels)
      let expected = SecondMomentTests.reference(x, x, rows: rows, centred: true)
      for (p, q) in zip(sum.covariance(c), expected) { #expect(abs(p - q) <= 1e-5) }
    }
  }

  @Test func notFinite_add_throwsNumeric() throws {
    var moment = try ChannelMoment(dimension: 2, channels: 2, symmetric: true)
    let values: [Float] = [0, .nan, 0, 0]
    try values.withUnsafeBufferPointer { v in
      let first = try #require(v.baseAddress)
      let error = #expect(throws: CetError.self) { try moment.add(first, rows: 1) }
      #expect(error?.code == .numeric)
    }
  }
}
