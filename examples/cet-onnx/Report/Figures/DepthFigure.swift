/// Bits along the depth of the network, in the order in which its nodes read the tensors.
struct DepthFigure {
  var runs: [(label: String, tensors: [TensorLine])]

  private var tensors: [TensorLine] { runs.first?.tensors ?? [] }
  private static let mostRows = 40

  var figure: Figure {
    let isList = runs.count == 1 && tensors.count <= DepthFigure.mostRows
    var lead = "Weight tensors in the order in which the network reads them."
    lead +=
      isList
      ? " Filled cells are bits; grey bars at the right are the bytes in the file. Names are those of the node, its operator and the initializer."
      : " One column a tensor, from input to output; colour and height are bits. Point at a column for its name; the table below lists all."
    return Figure(
      id: "depth", title: "Bits along depth", lead: lead, label: label, numbers: isList ? nil : numbers
    ) { isList ? list($0) : columns($0) }
  }

  private var label: String {
    let known = tensors.prefix(DepthFigure.mostRows).map { "\($0.title): \($0.isPlanned ? "\($0.bits) bits" : "float32")" }
    return "Bits of \(tensors.count) tensors. " + known.joined(separator: "; ")
  }

  private func tip(_ tensor: TensorLine, _ label: String) -> String {
    let bits = tensor.isPlanned ? "\(tensor.bits) bits, \(tensor.coding)" : "float32"
    return (label.isEmpty ? "" : "\(label): ")
      + "\(tensor.title), \(tensor.name), \(tensor.shapeText): \(bits), \(grouped(tensor.storedBytes)) bytes"
  }

  // MARK: A row for each tensor

  private func list(_ width: Double) -> Drawing {
    let isWide = width > 500
    let row = isWide ? 38.0 : 70
    var drawing = Drawing(width: width, height: row * Double(tensors.count) + 30)
    let longest = tensors.map { max($0.title.count, $0.name.count) }.max() ?? 0
    let left = isWide ? min(330, max(150, Double(longest) * Drawing.letter + 24)) : 0
    let cell = isWide ? 22.0 : 20
    let bars = left + 8 * cell + 66
    let room = width - bars - 74
    let most = max(1, tensors.map { Double($0.storedBytes) }.max() ?? 1)
    drawing.text("bits", left, 12, .start, "axis")
    drawing.text("bytes", bars, 12, .start, "axis")
    for (index, tensor) in tensors.enumerated() {
      let top = 26 + row * Double(index)
      let y = isWide ? top + 2 : top + 33
      let characters = Int((isWide ? left - 14 : width) / Drawing.letter)
      drawing.text(shortened(tensor.title, to: characters), 0, isWide ? top + 11 : top + 12, .start, "")
      drawing.text(shortened(tensor.name, to: characters), 0, top + (isWide ? 26 : 27), .start, "soft")
      let filled = tensor.isPlanned ? tensor.bits : 8
      for bit in 0..<8 {
        drawing.rectangle(left + cell * Double(bit), y + 3, cell - 2, 15, bit < filled ? style(tensor.bits) : "empty")
      }
      drawing.text(tensor.isPlanned ? String(tensor.bits) : "float", left + 8 * cell + 6, y + 15, .start, "strong")
      let length = max(1, room * Double(tensor.storedBytes) / most)
      drawing.rectangle(bars, y + 3, length, 15, "bar")
      drawing.text(grouped(tensor.storedBytes), bars + length + 6, y + 15, .start, "soft")
      drawing.rectangle(0, top - 2, width, row - 2, "hit", tip: tip(tensor, ""))
    }
    return drawing
  }

  // MARK: A column for each tensor

  private func columns(_ width: Double) -> Drawing {
    let isWide = width > 500
    let lane = runs.count == 1 ? (isWide ? 180.0 : 150) : 64
    let left = runs.count == 1 ? 26.0 : (isWide ? 70 : 48)
    var drawing = Drawing(width: width, height: Double(runs.count) * (lane + 14) + 36)
    let room = width - left
    let step = room / Double(max(1, tensors.count))
    for (index, run) in runs.enumerated() {
      let top = 8 + Double(index) * (lane + 14)
      for bits in [0, 2, 4, 8] where runs.count == 1 || bits == 0 {
        let y = top + lane - lane * Double(bits) / 8
        drawing.line(left, y, width, y, bits == 0 ? "tick" : "grid")
        if runs.count == 1 { drawing.text(String(bits), left - 8, y + 4, .end, "soft") }
      }
      if runs.count > 1 { drawing.text(run.label, 0, top + lane - 4, .start, "strong") }
      for (place, tensor) in run.tensors.enumerated() {
        let height = lane * (tensor.isPlanned ? Double(tensor.bits) / 8 : 1)
        let gap = step > 4 ? 1.0 : 0
        drawing.rectangle(
          left + step * Double(place), top + lane - height, max(0.8, step - gap), height, style(tensor.bits),
          tip: tip(tensor, runs.count > 1 ? run.label : ""))
      }
    }
    let bottom = drawing.height - 10
    drawing.text("input", left, bottom, .start, "soft")
    drawing.text("tensors along depth", left + room / 2, bottom, .middle, "axis")
    drawing.text("output", width, bottom, .end, "soft")
    return drawing
  }

  private var numbers: DataTable {
    DataTable(
      caption: "Bits along depth", columns: ["tensor", "node"] + runs.map { $0.label.isEmpty ? "bits" : $0.label },
      rows: tensors.indices.map { index in
        [.text(tensors[index].name), .text(tensors[index].title)]
          + runs.map { run in
            let tensor = run.tensors[index]
            return .number(tensor.isPlanned ? String(tensor.bits) : "float", Double(tensor.bits))
          }
      })
  }
}
