"""Figures as SVG: text, lines and colours are the page's own, so light, dark and print need no second picture.

This module knows nothing of runs: series, bars and intervals go in, markup comes out. Every word is escaped. Colours
are classes (`tone-0` to `tone-5` for series, `phase-0` to `phase-7` for bands), tooltips are `<title>` elements.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from smallsight.records import Estimate
from smallsight.report.words import visible

WIDTH, HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 20, 26
_MARKS_WIDTH, _MARKS_LEFT = 360, 118
_NAME_HEIGHT = 16
_NUMBER_WIDTH = 30
_MOST_HINTS = 200
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Point:
    """One value: `group` breaks the line where it changes, `hint` is its tooltip, `marked` puts a ring around it."""

    x: float
    y: Estimate
    group: str
    hint: str
    marked: bool = False


@dataclass(frozen=True)
class Series:
    """One line of a chart; `shaded` draws its interval."""

    name: str
    tone: int
    points: tuple[Point, ...]
    shaded: bool = False


@dataclass(frozen=True)
class Band:
    """A stretch of the x axis, with a short label at its top."""

    start: float
    end: float
    tone: int
    label: str
    hint: str


@dataclass(frozen=True)
class ChartLevel:
    """A value to be reached."""

    value: float
    name: str


@dataclass(frozen=True)
class ChartMark:
    """A figure to be compared with levels; `kind`, its CSS class, is `before`, `now` or `elsewhere`."""

    name: str
    value: Estimate
    kind: str


@dataclass(frozen=True)
class Bar:
    """One bar with its interval; `note` stands at its end."""

    name: str
    value: Estimate
    note: str
    hint: str


def tag(name: str, *content: Markup | str, **attributes: object) -> Markup:
    """An SVG element; `class_` and `stroke_width` become `class` and `stroke-width`, numbers get one decimal."""
    words = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _safe(_short(value)))
        for key, value in attributes.items()
    )
    return Markup("<{name}{words}>{inner}</{name}>").format(
        name=Markup(name), words=words, inner=Markup("").join(map(_safe, content))
    )


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    bands: Sequence[Band] = (),
    levels: Sequence[ChartLevel] = (),
    from_zero: bool = False,
    log: bool = False,
) -> Markup:
    """Values over epochs; empty where no series has a known value.

    Args:
        title: the text that a screen reader reads in place of the picture.
        from_zero: whether the y axis begins at 0 even where all values lie far above.
        log: whether the y axis is logarithmic; values of 0 or less are left out then.
    """
    points = [point for item in series for point in item.points if point.y.known and (point.y.value > 0 or not log)]
    if not points:
        return Markup("")
    xs = [*(point.x for point in points), *(end for band in bands for end in (band.start, band.end))]
    x = _linear(min(xs) - 0.5, max(xs) + 0.5, _LEFT, WIDTH - _RIGHT)
    low, high = _extent(series, levels)
    ticks = _log_ticks(low, high) if log else nice_ticks(0.0 if from_zero else low, high)
    spec = "g" if log else _spec(ticks)
    y = _logarithmic(ticks[0], ticks[-1]) if log else _linear(ticks[0], ticks[-1], HEIGHT - _BOTTOM, _TOP)
    inside = [level for level in levels if ticks[0] <= level.value <= ticks[-1]]
    return _svg(
        title,
        WIDTH,
        HEIGHT,
        *(_band(band, x) for band in bands),
        *(_y_tick(value, y(value), format(value, spec)) for value in ticks),
        *(
            _x_tick(value, x(value))
            for value in nice_ticks(min(xs), max(xs), 8, whole=True)
            if min(xs) <= value <= max(xs)
        ),
        *(_level_line(y(level.value)) for level in inside),
        *(_level_name(at, names) for at, names in _apart(inside, y)),
        *(_shade(item, x, y) for item in series if item.shaded),
        *(_line(item, x, y, log=log) for item in series),
        class_="chart lines",
    )


def forest_axis(low: float, high: float, *, width: int = 220) -> Markup:
    """The scale above a column of `forest_row`, with the same ends."""
    x = _linear(low, high, 8, width - 8)
    ticks = [value for value in nice_ticks(low, high, 3) if low <= value <= high]
    marks = (tag("text", f"{value:+.2g}" if value else "0", x=x(value), y=12, text_anchor="middle") for value in ticks)
    return _svg("scale", width, 16, *marks, class_="cell")


def forest_row(
    expected: tuple[float, float] | None, actual: Estimate, low: float, high: float, hint: str, *, width: int = 220
) -> Markup:
    """What was expected as a bar, and what was measured as a dot with its interval, around a line at 0."""
    x = _linear(low, high, 8, width - 8)
    parts = [tag("line", x1=x(0), x2=x(0), y1=0, y2=24, class_="zero")]
    if expected:
        parts.append(
            tag("rect", x=x(expected[0]), y=6, width=max(2, x(expected[1]) - x(expected[0])), height=12, class_="hoped")
        )
    if actual.known:
        if not math.isnan(actual.low):
            parts.append(tag("line", x1=x(actual.low), x2=x(actual.high), y1=12, y2=12, class_="whisker"))
        parts.append(tag("circle", cx=x(actual.value), cy=12, r=4, class_="dot"))
    return _svg(hint, width, 24, *parts, tag("title", hint), class_="cell")


def bar_chart(title: str, bars: Sequence[Bar], high: float, *, width: int = 320) -> Markup:
    """Horizontal bars from 0 to `high`, with whiskers."""
    x = _linear(0, high, 92, width - 52)
    rows = []
    for number, bar in enumerate(bars):
        middle = 14 + 26 * number
        rows += [
            tag("text", bar.name, x=84, y=middle + 4, text_anchor="end", class_="name"),
            tag("rect", x=x(0), y=middle - 8, width=max(0, x(bar.value.value) - x(0)), height=16, class_="bar"),
            tag("text", bar.note, x=width, y=middle + 4, text_anchor="end"),
            tag("rect", tag("title", bar.hint), x=0, y=middle - 13, width=width, height=26, class_="touch"),
        ]
        if not math.isnan(bar.value.low):
            rows.append(tag("line", x1=x(bar.value.low), x2=x(bar.value.high), y1=middle, y2=middle, class_="whisker"))
    return _svg(
        title,
        width,
        26 * len(bars) + 2,
        tag("line", x1=x(0), x2=x(0), y1=0, y2=26 * len(bars) + 2, class_="zero"),
        *rows,
    )


def reliability_chart(title: str, bins: Sequence[tuple[float, Estimate, str]]) -> Markup:
    """Share of hits over mean score, with intervals, and the diagonal on which both agree.

    Args:
        title: the text that a screen reader reads in place of the picture.
        bins: mean score, share of hits and tooltip of each bin, in the order of the scores.
    """
    size = 300
    x, y = _linear(0, 1, 36, size - 8), _linear(0, 1, size - 26, 8)
    ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
    axis = [tag("line", x1=x(0), y1=y(value), x2=x(1), y2=y(value), class_="grid") for value in ticks]
    axis += [tag("text", f"{value:g}", x=30, y=y(value) + 4, text_anchor="end") for value in ticks]
    axis += [tag("text", f"{value:g}", x=x(value), y=size - 8, text_anchor="middle") for value in ticks]
    dots = []
    for score, share, hint in bins:
        if not math.isnan(share.low):
            dots.append(tag("line", x1=x(score), x2=x(score), y1=y(share.low), y2=y(share.high), class_="whisker"))
        dots.append(tag("circle", tag("title", hint), cx=x(score), cy=y(share.value), r=4, class_="dot"))
    path = "M" + "L".join(f"{x(score):.1f},{y(share.value):.1f}" for score, share, _ in bins)
    diagonal = tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="ideal")
    return _svg(title, size, size, *axis, diagonal, tag("path", d=path, class_="line tone-0"), *dots)


def target_chart(title: str, marks: Sequence[ChartMark], levels: Sequence[ChartLevel]) -> Markup:
    """Figures with their intervals, one below the other, on one scale with the levels to be reached."""
    values = [value for mark in marks for value in (mark.value.value, mark.value.low, mark.value.high)]
    known = [value for value in (*values, *(level.value for level in levels)) if not math.isnan(value)]
    if not known:
        return Markup("")
    margin, height = 0.05 * (max(known) - min(known) or 1), 26 * len(marks) + 22
    x = _linear(min(known) - margin, max(known) + margin, _MARKS_LEFT, _MARKS_WIDTH - 14)
    parts, named = [], -math.inf
    for level in sorted(levels, key=lambda level: level.value):
        at = x(level.value)
        parts.append(tag("line", x1=at, x2=at, y1=18, y2=height, class_="level"))
        if at - named >= _NUMBER_WIDTH:
            named = at
            parts.append(tag("text", f"{level.value:g}", tag("title", level.name), x=at, y=12, text_anchor="middle"))
    for row, mark in enumerate(marks):
        middle = 34 + 26 * row
        parts.append(tag("text", mark.name, x=_MARKS_LEFT - 12, y=middle + 4, text_anchor="end", class_="name"))
        if not math.isnan(mark.value.low):
            ends = {"x1": x(mark.value.low), "x2": x(mark.value.high)}
            parts.append(tag("line", **ends, y1=middle, y2=middle, class_=f"whisker {mark.kind}"))
        hint = tag("title", f"{mark.name}: {mark.value:.3f}, n={mark.value.n}")
        parts.append(tag("circle", hint, cx=x(mark.value.value), cy=middle, r=5, class_=f"dot {mark.kind}"))
    return _svg(title, _MARKS_WIDTH, height, *parts, class_="marks")


def nice_ticks(low: float, high: float, count: int = 5, *, whole: bool = False) -> list[float]:
    """About `count` round values that enclose `low` and `high`."""
    span = high - low or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / count))
    factors = (1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)
    step = next(step * factor for factor in factors if step * factor * count >= span * 0.999)
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def _spec(ticks: Sequence[float]) -> str:
    """A number format with enough decimals to write the ticks differently and exactly."""
    decimals = next(n for n in range(13) if len({f"{tick:.{n}f}" for tick in ticks}) == len(ticks))
    exact = all(abs(tick - round(tick, decimals)) < 1e-9 for tick in ticks)
    return f".{decimals if exact else decimals + 1}f"


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    below = max(value for value in values if value <= low * 1.001)
    above = min((value for value in (*values, 10.0 ** (powers[-1] + 1)) if value >= high * 0.999), default=high)
    return [value for value in values if below <= value <= above]


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    span = high - low or 1.0
    return lambda value: start + (min(max(value, low), high) - low) / span * (end - start)


def _logarithmic(low: float, high: float) -> Scale:
    inner = _linear(math.log10(low), math.log10(high), HEIGHT - _BOTTOM, _TOP)
    return lambda value: inner(math.log10(value))


def _extent(series: Sequence[Series], levels: Sequence[ChartLevel]) -> tuple[float, float]:
    values = [level.value for level in levels]
    for item in series:
        for point in item.points:
            values += [point.y.value, *((point.y.low, point.y.high) if item.shaded else ())]
    known = [value for value in values if math.isfinite(value)]
    return min(known), max(known)


def _svg(title: str, width: float, height: float, *content: Markup, class_: str = "chart") -> Markup:
    box = f"0 0 {width} {height}"
    return tag("svg", *content, class_=class_, viewBox=box, role="img", aria_label=title)


def _band(band: Band, x: Scale) -> Markup:
    start, end = x(band.start - 0.5), x(band.end + 0.5)
    area = tag(
        "rect", x=start, y=_TOP, width=end - start, height=HEIGHT - _TOP - _BOTTOM, class_=f"band phase-{band.tone}"
    )
    label = tag("text", band.label, x=(start + end) / 2, y=13, text_anchor="middle", class_=f"number phase-{band.tone}")
    return tag("g", area, label, tag("title", band.hint))


def _y_tick(value: float, at: float, words: str) -> Markup:
    line = tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=at, y2=at, class_="grid")
    return Markup("").join((line, tag("text", words, x=_LEFT - 6, y=at + 4, text_anchor="end")))


def _x_tick(value: float, at: float) -> Markup:
    return tag("text", f"{value:g}", x=at, y=HEIGHT - 8, text_anchor="middle")


def _level_line(at: float) -> Markup:
    return tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=at, y2=at, class_="level")


def _level_name(at: float, names: Sequence[str]) -> Markup:
    return tag("text", ", ".join(names), x=_LEFT + 4, y=at - 4, class_="halo")


def _apart(levels: Sequence[ChartLevel], y: Scale) -> list[tuple[float, list[str]]]:
    """Positions for the names of levels, from the top; names too near to each other share a position."""
    places: list[tuple[float, list[str]]] = []
    for level in sorted(levels, key=lambda level: -level.value):
        at = y(level.value)
        if places and at - places[-1][0] < _NAME_HEIGHT:
            places[-1][1].append(level.name)
        else:
            places.append((at, [level.name]))
    return places


def _runs(series: Series) -> Iterator[list[Point]]:
    """The known points, broken where the group changes."""
    known = (point for point in series.points if point.y.known)
    for _, run in itertools.groupby(known, key=lambda point: point.group):
        yield list(run)


def _shade(series: Series, x: Scale, y: Scale) -> Markup:
    parts = []
    for run in _runs(series):
        run = [point for point in run if not math.isnan(point.y.low)]
        there = [f"{x(point.x):.1f},{y(point.y.high):.1f}" for point in run]
        back = [f"{x(point.x):.1f},{y(point.y.low):.1f}" for point in reversed(run)]
        if len(run) > 1:
            parts.append(tag("polygon", points=" ".join((*there, *back)), class_=f"shade tone-{series.tone}"))
        elif run:
            here = x(run[0].x)
            ends = {"y1": y(run[0].y.low), "y2": y(run[0].y.high)}
            parts.append(tag("line", x1=here, x2=here, **ends, class_=f"shade-line tone-{series.tone}"))
    return Markup("").join(parts)


def _line(series: Series, x: Scale, y: Scale, *, log: bool) -> Markup:
    parts, tone = [], f"tone-{series.tone}"
    for run in _runs(series):
        run = [point for point in run if point.y.value > 0 or not log]
        if len(run) > 1:
            path = "M" + "L".join(f"{x(point.x):.1f},{y(point.y.value):.1f}" for point in run)
            parts.append(tag("path", d=path, class_=f"line {tone}"))
        if len(series.points) > _MOST_HINTS:
            continue
        for point in run:
            place = {"cx": x(point.x), "cy": y(point.y.value)}
            if point.marked:
                parts.append(tag("circle", **place, r=6.5, class_=f"ring {tone}"))
            parts.append(tag("circle", **place, r=2.4, class_=f"point {tone}"))
            parts.append(tag("circle", tag("title", point.hint), **place, r=8, class_="touch"))
    return Markup("").join(parts)


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def _safe(words: Markup | str) -> Markup:
    return words if isinstance(words, Markup) else escape(visible(words))
