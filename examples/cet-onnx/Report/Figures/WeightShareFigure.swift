/// What share of the weights has how many bits, and what share stays float.
struct WeightShareFigure {
  var tensors: [TensorLine]

  private var shares: [(bits: Int, weights: UInt64, bytes: UInt64, tensors: Int)] {
    Dictionary(grouping: tensors) { $0.isPlanned ? $0.bits : 32 }.map { bits, list in
      (bits, list.reduce(0) { $0 &+ $1.count }, list.reduce(0) { $0 &+ $1.storedBytes }, list.count)
    }.sorted { $0.bits < $1.bits }
  }

  private func name(_ bits: Int) -> String { bits == 32 ? "float32" : bits == 1 ? "1 bit" : "\(bits) bits" }

  var figure: Figure {
    let total = Double(max(1, tensors.reduce(0) { $0 &+ $1.count }))
    let kept = Double(shares.first { $0.bits == 32 }?.weights ?? 0) / total
    let parts = shares.map { "\(percent(Double($0.weights) / total, 1)) with \(name($0.bits))" }
    return Figure(
      id: "share", title: "Bits of the weights",
      lead: (kept > 0 ? "\(percent(kept, 1)) of the weights stay float32." : "No weight tensor stays float32.")
        + " Above: shares of the weights; below: shares of the bytes that they take in the file.",
      label: "Of all weights: \(parts.joined(separator: ", ")).",
      numbers: DataTable(
        caption: "Weights and bytes by bits", columns: ["bits", "tensors", "weights", "share", "bytes"],
        rows: shares.map {
          [
            .text(name($0.bits)), .bytes(UInt64($0.tensors)), .bytes($0.weights),
            .number(percent(Double($0.weights) / total, 1), Double($0.weights) / total), .bytes($0.bytes),
          ]
        }), draw: draw)
  }

  private func draw(_ width: Double) -> Drawing {
    var drawing = Drawing(width: width, height: 108)
    strip(&drawing, 0, "weights", shares.map { ($0.bits, Double($0.weights), grouped($0.weights) + " weights") })
    strip(&drawing, 56, "bytes", shares.map { ($0.bits, Double($0.bytes), grouped($0.bytes) + " bytes") })
    return drawing
  }

  /// Segments with their names beneath, where there is room.
  private func strip(_ drawing: inout Drawing, _ y: Double, _ what: String, _ parts: [(bits: Int, value: Double, text: String)]) {
    let left = 56.0
    let room = drawing.width - left
    let total = max(1, parts.reduce(0) { $0 + $1.value })
    drawing.text(what, 0, y + 18, .start, "soft")
    var x = left
    var free = left
    for part in parts {
      let length = room * part.value / total
      drawing.rectangle(
        x, y + 2, max(1, length - 1), 24, style(part.bits),
        tip: "\(name(part.bits)): \(part.text), \(percent(part.value / total, 1))")
      let long = "\(name(part.bits)) \(percent(part.value / total))"
      for text in [long, name(part.bits)]
      where x >= free && Double(text.count) * Drawing.letter <= max(length, 34)
        && x + Double(text.count) * Drawing.letter <= drawing.width
      {
        drawing.text(text, x, y + 41, .start, "soft")
        free = x + Double(text.count) * Drawing.letter + 6
        break
      }
      x += length
    }
  }
}

/// The class of a bit width's colour.
func style(_ bits: Int) -> String { bits == 32 ? "bf" : "b\(bits)" }
