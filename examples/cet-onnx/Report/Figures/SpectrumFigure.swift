import Glibc

/// The eigenvalues of the loss's curvature: their sizes and signs, their density, and the level surface that follows (Figure 1 of
/// the paper).
struct SpectrumFigure {
  var geometry: Geometry

  var figures: [Figure] { geometry.pairs.isEmpty ? [] : [values, density, surface] }

  private var verdict: String {
    let count = geometry.negativeCount
    return count == 0
      ? "All \(geometry.pairs.count) are positive: as far as they go the level surface is closed, an ellipsoid."
      : "\(count) of \(geometry.pairs.count) are negative: the level surface is open, a hyperboloid."
  }

  private var values: Figure {
    Figure(
      id: "spectrum", title: "Spectrum of the curvature",
      lead:
        "The \(geometry.pairs.count) eigenvalues of largest size of the Hessian of \(geometry.loss), of \(grouped(geometry.dimension)) weights and "
        + "\(grouped(geometry.samples)) samples. \(verdict) The trace is about \(power(geometry.trace.trace)) ± \(power(geometry.trace.standardError)).",
      label: "Eigenvalues: " + geometry.pairs.map { String(format: "%.3g", $0.eigenvalue) }.joined(separator: ", "),
      numbers: DataTable(
        caption: "Eigenvalues", columns: ["pair", "eigenvalue", "residual norm", "½ λ (vᵀδ)²"],
        rows: geometry.pairs.enumerated().map {
          [.text(String($0.offset + 1)), .loss($0.element.eigenvalue), .loss($0.element.residualNorm), .loss($0.element.share)]
        })
    ) { width in
      let pairs = geometry.pairs
      var plot = Plot(
        width: width, height: 300, x: ([0.5, Double(pairs.count) + 0.5], .linear, "pair"),
        y: (pairs.map { abs($0.eigenvalue) } + pairs.map { abs($0.eigenvalue) / 2 }, .logarithmic, "|eigenvalue|"),
        isWhole: (true, false))
      for (index, pair) in pairs.enumerated() {
        let x = plot.x(Double(index + 1))
        let sign = pair.eigenvalue < 0 ? "negative" : "positive"
        plot.drawing.line(x, plot.y.start, x, plot.y(abs(pair.eigenvalue)), "stem")
        plot.mark(
          pair.eigenvalue < 0 ? .triangle : .circle, (Double(index + 1), abs(pair.eigenvalue)), 5,
          sign == "negative" ? "accent" : "b6",
          tip:
            "pair \(index + 1), \(sign): \(String(format: "%.4g", pair.eigenvalue)), residual norm \(scientific(pair.residualNorm))"
        )
      }
      if let first = pairs.first { plot.label(String(format: "λ₁ = %.3g", first.eigenvalue), (1, abs(first.eigenvalue)), "halo") }
      if let place = pairs.firstIndex(where: { $0.eigenvalue < 0 }) {
        plot.label("negative", (Double(place + 1), abs(pairs[place].eigenvalue)), "accent-text halo")
      }
      return plot.drawing
    }
  }

  private var density: Figure {
    let points = geometry.density.points
    let negative = points.reduce(0.0) { $0 + ($1.value < 0 ? $1.density : 0) } / max(1e-300, points.reduce(0.0) { $0 + $1.density })
    return Figure(
      id: "density", title: "Density of all eigenvalues",
      lead:
        "Nearly all directions are flat and stand near zero; few are stiff. Estimated with random vectors, every eigenvalue widened to "
        + "\(power(geometry.density.width)), so that flat ones spill to both sides of zero.",
      label:
        "Density of eigenvalues from \(tickText(points.first?.value ?? 0)) to \(tickText(points.last?.value ?? 0)); \(percent(negative)) lies below zero.",
      numbers: DataTable(
        caption: "Density", columns: ["eigenvalue", "density", "standard error"],
        rows: points.map { [.loss($0.value), .loss($0.density), .loss($0.standardError)] })
    ) { width in
      let floor = max(1e-12, (points.map(\.density).max() ?? 1) * 1e-7)
      var plot = Plot(
        width: width, height: 260, x: (points.map(\.value), .linear, "eigenvalue"),
        y: (points.map { max($0.density, floor) } + [floor], .logarithmic, "density"))
      plot.band(points.map { ($0.value, floor, max($0.density, floor)) }, "band")
      plot.line(points.map { ($0.value, max($0.density, floor)) }, "front")
      plot.drawing.line(plot.x(0), plot.y.start, plot.x(0), plot.y.end, "reference")
      return plot.drawing
    }
  }

  /// The level line of the loss in the plane of two eigenvectors, to scale: |axes| are 1/√|λ|.
  private var surface: Figure {
    let pairs = geometry.pairs
    let first = pairs[0].eigenvalue
    let other =
      pairs.filter { $0.eigenvalue < 0 }.min { $0.eigenvalue < $1.eigenvalue }?.eigenvalue ?? pairs[pairs.count - 1].eigenvalue
    let isOpen = first * other < 0
    let ratio = (abs(first) / max(abs(other), 1e-300)).squareRoot()
    return Figure(
      id: "surface", title: isOpen ? "Level lines: open" : "Level lines: closed",
      lead: "Where the loss is the same, in the plane of the stiffest direction (λ = \(String(format: "%.3g", first))) and of λ = "
        + "\(String(format: "%.3g", other)) (Figure 1 of the paper). "
        + (isOpen
          ? "Along the asymptotes the loss does not change at second order."
          : "The long axis is \(String(format: "%.1f", ratio)) times the short one: error along it costs \(String(format: "%.0f", ratio * ratio)) times less.")
        + " Other directions are flatter still.",
      label: isOpen ? "Hyperbolas" : "Ellipses with axes in the ratio \(String(format: "%.1f", ratio))", numbers: nil
    ) { width in
      var drawing = Drawing(width: width, height: 230)
      let (cx, cy) = (width / 2, 112.0)
      let long = min(width / 2 - 24, 300)
      let short = max(3, min(96, long / max(1, ratio)))
      drawing.line(cx - long - 16, cy, cx + long + 16, cy, "grid")
      drawing.line(cx, 8, cx, 216, "grid")
      let reach = min(long, short * ratio)
      for level in [1.0, 0.7, 0.4] {
        if isOpen {
          let steps = (-40...40).map { Double($0) / 40 }
          for side in [-1.0, 1.0] {
            // λ₁y₁² + λ₂y₂² = c > 0, then c < 0.
            let above = steps.map {
              (x: cx + long * $0, y: cy + side * short * (level * level + long * long * $0 * $0 / (reach * reach)).squareRoot())
            }
            drawing.path(above.filter { abs($0.y - cy) < 100 }, "level")
            let beside = steps.map {
              (x: cx + side * reach * (level * level + 1e4 * $0 * $0 / (short * short)).squareRoot(), y: cy + 100 * $0)
            }
            drawing.path(beside.filter { abs($0.x - cx) < long }, "level")
          }
        } else {
          let points = (0...72).map { step in
            let angle = Double(step) * .pi / 36
            return (x: cx + reach * level * cos(angle), y: cy + short * level * sin(angle))
          }
          drawing.path(points, "level", closed: true)
        }
      }
      drawing.text("stiff", cx, 226, .middle, "soft halo")
      drawing.text(isOpen ? "negative" : "flat", cx + long + 20, cy + 18, .end, "soft halo")
      return drawing
    }
  }
}
