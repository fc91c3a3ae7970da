/// How much of the second-order loss of the plan's error the leading eigenpairs hold (Figure 3 of the paper).
struct EigenpairsFigure {
  var geometry: Geometry

  var figure: Figure? {
    let shares = geometry.pairs.map(\.share)
    guard geometry.secondOrderLoss > 0, shares.allSatisfy(\.isFinite), !shares.isEmpty else { return nil }
    var sums: [Double] = [0]
    for share in shares { sums.append(sums[sums.count - 1] + share) }
    let total = geometry.secondOrderLoss
    let part = (sums.last ?? 0) / total
    return Figure(
      id: "eigenpairs", title: "Effect of the number of eigenpairs",
      lead: "What the first k pairs hold of the second-order loss of the plan's error δ, Σ ½ λᵢ (vᵢᵀδ)² (Figure 3 of the paper). "
        + "\(shares.count) of \(grouped(geometry.dimension)) pairs hold \(percent(part)) of ½ δᵀHδ = \(power(total)): "
        + (part < 0.5
          ? "the error avoids the stiff directions, and the rest is spread over the flat ones."
          : "the error lies in few directions.")
        + " δ is that of the weights alone; corrected biases take a part of this loss away.",
      label: "\(shares.count) pairs hold \(percent(part)) of the second-order loss.",
      numbers: DataTable(
        caption: "Loss held by the first pairs", columns: ["pairs", "loss", "share of ½ δᵀHδ"],
        rows: sums.enumerated().map {
          [.text(String($0.offset)), .loss($0.element), .number(percent($0.element / total, 2), $0.element / total)]
        })
    ) { width in
      var plot = Plot(
        width: width, height: 280, x: ([0, Double(sums.count - 1)], .linear, "eigenpairs k"),
        y: (sums.map { $0 / total } + [0, 1], .linear, "share of ½ δᵀHδ"), isWhole: (true, false), yText: { percent($0) })
      plot.drawing.line(plot.x.start, plot.y(1), plot.x.end, plot.y(1), "reference")
      plot.drawing.text("all directions", plot.x.end, plot.y(1) + 16, .end, "soft halo")
      plot.line(sums.enumerated().map { (Double($0.offset), $0.element / total) }, "front")
      for (index, sum) in sums.enumerated() {
        plot.mark(
          .circle, (Double(index), sum / total), 3.5, "accent",
          tip: "\(index) pairs: \(scientific(sum)), \(percent(sum / total, 1))")
      }
      return plot.drawing
    }
  }
}
