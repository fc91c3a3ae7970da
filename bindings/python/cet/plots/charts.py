"""The pictures by Altair: charts whose points tell what they are under the pointer."""

from __future__ import annotations

import math
from typing import Any, Optional

from ..optional import required
from . import data
from .data import Curve, Rows

_alt = required("altair", "backend='altair'")
_WIDTH, _HEIGHT = 480, 300


def _rows(rows: Rows) -> Any:
    return _alt.Data(values=rows)


def _bit_colours() -> Any:
    return _alt.Color("bits:O", scale=_alt.Scale(domain=list(data.COLOURS), range=list(data.COLOURS.values())), title="bits")


def bits(rows: Rows) -> Any:
    order = [row["title"] for row in rows]
    kept = [dict(row, height=8) for row in rows if row["bits"] is None]
    x = _alt.X("title:N", sort=order, scale=_alt.Scale(domain=order), title=None)
    tips = ["title:N", "tensor:N", "bits:Q", "coding:N", "bytes:Q", "reason:N"]
    bars = _alt.Chart(_rows([row for row in rows if row["bits"] is not None])).mark_bar().encode(
        x=x, y=_alt.Y("bits:Q", scale=_alt.Scale(domain=[0, 8]), title="bits of a code"), color=_bit_colours(), tooltip=tips)
    outlines = _alt.Chart(_rows(kept)).mark_bar(fill="transparent", stroke=data.KEPT, strokeDash=[2, 2]).encode(
        x=x, y="height:Q", tooltip=tips)
    return _alt.layer(bars, outlines).properties(width=max(_WIDTH, min(16 * len(rows), 1600)), height=_HEIGHT)


def curve(found: Curve) -> Any:
    x = _alt.X("bytes:Q", title="whole file, bytes", axis=_alt.Axis(format="~s"), scale=_alt.Scale(zero=False))
    y = _alt.Y("loss:Q", scale=_alt.Scale(type="log"), title=f"loss change on new samples ({found.loss})")
    tips = ["bytes:Q", "mean_bits:Q", "ratio:Q", "loss:Q", "low:Q", "high:Q"]
    line = _alt.Chart(_rows(found.points)).mark_line(point=True, color=data.LINE).encode(x=x, y=y, tooltip=tips)
    known = [point for point in found.points if point["low"] is not None and point["low"] > 0]
    layers = [line]
    if known:
        layers.insert(0, _alt.Chart(_rows(known)).mark_area(opacity=0.15, color=data.LINE).encode(x=x, y="low:Q", y2="high:Q"))
    if found.own["bytes"] and found.own["loss"] > 0:
        layers.append(
            _alt.Chart(_rows([found.own])).mark_point(shape="diamond", filled=True, size=110, color=data.NEGATIVE).encode(
                x=x, y=y, tooltip=tips))
    return _alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT)


def theory(rows: Rows) -> Any:
    values = [row[name] for row in rows for name in ("measured", "predicted")]
    ends = [min(values) / 1.6, max(values) * 1.6]
    scale = _alt.Scale(type="log", domain=ends, nice=False)
    x = _alt.X("measured:Q", scale=scale, title="measured loss change")
    y = _alt.Y("predicted:Q", scale=scale, title="predicted from curvature")
    points = _alt.Chart(_rows(rows)).mark_point().encode(
        x=x, y=y, color=_bit_colours(), tooltip=["title:N", "tensor:N", "bits:Q", "measured:Q", "predicted:Q", "chosen:N"],
        fillOpacity=_alt.condition("datum.chosen", _alt.value(1), _alt.value(0)), fill=_bit_colours())
    line = _alt.Chart(_rows([{"measured": end, "predicted": end} for end in ends])).mark_line(
        strokeDash=[4, 4], color=data.KEPT, strokeWidth=1).encode(x=x, y=y)
    return _alt.layer(line, points).properties(width=360, height=360)


def spectrum(pairs: Optional[Rows], points: Optional[Rows]) -> Any:
    charts = []
    if pairs is not None:
        signs = _alt.Scale(domain=["positive", "negative"], range=[data.POSITIVE, data.NEGATIVE])
        charts.append(
            _alt.Chart(_rows(pairs)).mark_point(size=45).encode(
                x=_alt.X("rank:Q", title="rank", axis=_alt.Axis(tickMinStep=1)),
                y=_alt.Y("magnitude:Q", scale=_alt.Scale(type="log"), title="|eigenvalue|"),
                color=_alt.Color("sign:N", scale=signs, title=None), fill=_alt.Fill("sign:N", scale=signs, title=None),
                fillOpacity=_alt.condition("datum.converged", _alt.value(1), _alt.value(0)),
                tooltip=["rank:Q", "eigenvalue:Q", "residual:Q", "converged:N"]))
    if points is not None:
        x = _alt.X("eigenvalue:Q", title="eigenvalue")
        scale = _alt.Scale(type="log")
        base = _alt.Chart(_rows(points))
        charts.append(_alt.layer(
            base.mark_area(opacity=0.2, color=data.POSITIVE).encode(
                x=x, y=_alt.Y("low:Q", scale=scale, title="density"), y2="high:Q"),
            base.mark_line(color=data.POSITIVE).encode(x=x, y=_alt.Y("density:Q", scale=scale))))
    charts = [chart.properties(width=_WIDTH, height=_HEIGHT) for chart in charts]
    return charts[0] if len(charts) == 1 else _alt.hconcat(*charts)


def shares(rows: Rows) -> Any:
    labels = ["float32" if row["bits"] is None else str(row["bits"]) for row in rows]
    colours = [data.KEPT if row["bits"] is None else data.COLOURS[row["bits"]] for row in rows]
    long = [
        {"what": what, "label": label, "value": row[what], "order": index, "tensors": row["tensors"]}
        for what in ("weights", "bytes") for index, (label, row) in enumerate(zip(labels, rows))]
    return _alt.Chart(_rows(long)).mark_bar().encode(
        x=_alt.X("value:Q", stack="normalize", title=None, axis=_alt.Axis(format="%")),
        y=_alt.Y("what:N", sort=["weights", "bytes"], title=None), order="order:Q",
        color=_alt.Color("label:N", scale=_alt.Scale(domain=labels, range=colours), title="bits"),
        tooltip=["label:N", "what:N", "value:Q", "tensors:Q"]).properties(width=_WIDTH, height=90)


def losses(rows: Rows, loss: str) -> Any:
    y = _alt.Y("name:N", sort=[row["name"] for row in rows], title=None, axis=_alt.Axis(labelLimit=260))
    scale = _alt.Scale(type="log")
    known = [dict(row, low=max(row["low"], row["loss"] * 1e-2)) for row in rows if row["low"] is not None and row["high"] is not None]
    layers = [
        _alt.Chart(_rows(rows)).mark_point(filled=True, size=80, stroke=data.LINE).encode(
            x=_alt.X("loss:Q", scale=scale, title=f"loss change ({loss})"), y=y,
            fill=_alt.condition("datum.predicted", _alt.value(data.LINE), _alt.value("white")),
            tooltip=["name:N", "loss:Q", "low:Q", "high:Q"])]
    if known:
        layers.insert(0, _alt.Chart(_rows(known)).mark_rule(color=data.LINE, opacity=0.45, strokeWidth=3).encode(
            x=_alt.X("low:Q", scale=scale), x2="high:Q", y=y))
    return _alt.layer(*layers).properties(width=_WIDTH, height=36 * len(rows))


def agreement(found: data.Agreement) -> Any:
    rows = [{"exponent": math.log10(value)} for value in found.differences if 0 < value < math.inf]
    return _alt.Chart(_rows(rows), title=_alt.TitleParams(found.words, anchor="start", fontSize=11)).mark_bar(color=data.LINE).encode(
        x=_alt.X("exponent:Q", bin=_alt.Bin(maxbins=24), title="largest |difference| of a sample, log10"),
        y=_alt.Y("count()", title="samples")).properties(width=_WIDTH, height=_HEIGHT)


def eigenpairs(rows: Rows) -> Any:
    line = _alt.Chart(_rows(rows)).mark_line(point=True, color=data.LINE).encode(
        x=_alt.X("pairs:Q", title="eigenpairs k", axis=_alt.Axis(tickMinStep=1)),
        y=_alt.Y("share:Q", title="share of the second-order loss", axis=_alt.Axis(format="%")),
        tooltip=["pairs:Q", "loss:Q", "share:Q"])
    whole = _alt.Chart(_rows([{"share": 1}])).mark_rule(color=data.KEPT, strokeDash=[4, 4]).encode(y="share:Q")
    return _alt.layer(whole, line).properties(width=_WIDTH, height=_HEIGHT)


def interactions(found: data.Interactions) -> Any:
    cells = [
        {"tensor": a, "with": b, "interaction": float(found.scaled[i, j])}
        for i, a in enumerate(found.names) for j, b in enumerate(found.names)]
    side = 20 * len(found.names) + 40
    return _alt.Chart(_rows(cells)).mark_rect().encode(
        x=_alt.X("with:N", sort=found.names, title=None), y=_alt.Y("tensor:N", sort=found.names, title=None),
        color=_alt.Color("interaction:Q", scale=_alt.Scale(domain=[-1, 0, 1], range=["#5e4fa2", "#f7f7f7", "#d9731a"])),
        tooltip=["tensor:N", "with:N", "interaction:Q"]).properties(width=side, height=side)
