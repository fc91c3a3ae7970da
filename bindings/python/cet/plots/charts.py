"""The pictures by Altair: charts whose points tell what they are under the pointer."""

from __future__ import annotations

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
    order = [row["tensor"] for row in rows]
    kept = [dict(row, height=8) for row in rows if row["bits"] is None]
    x = _alt.X("tensor:N", sort=order, scale=_alt.Scale(domain=order), title=None)
    tips = ["tensor:N", "bits:Q", "coding:N", "bytes:Q", "reason:N"]
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
        x=x, y=y, color=_bit_colours(), tooltip=["tensor:N", "bits:Q", "measured:Q", "predicted:Q", "chosen:N"],
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
