"""The report as one HTML file that needs no network: it opens from the disk, in light and dark, on a phone, on paper.

Every word that comes from data is escaped by the template; the page's own script is the only one that its content
security policy lets run.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from smallsight.evaluation.evidence import Box, Crop, Evidence, Mistake
from smallsight.records import Estimate
from smallsight.report import key_metrics, risks, timeline
from smallsight.report.advice import WHY_IT_ENDED
from smallsight.report.analysis import analyse
from smallsight.report.charts import (
    PHASE_TONES,
    calibration_figure,
    curves,
    mistake_figures,
    phase_numbers,
    target_figure,
)
from smallsight.report.criteria import criteria
from smallsight.report.exam import exam_lines, lifts_of
from smallsight.report.findings import Analysis
from smallsight.report.history import History, latest_per_epoch
from smallsight.report.lessons import KINDS, gap_warnings, lessons
from smallsight.report.phase_charts import phase_rows, round_figures
from smallsight.report.sets import sets_in_words
from smallsight.report.words import counted, ends, filled, setting, visible, written
from smallsight.strategy.treatment import flatten

_TEMPLATES = files("smallsight.report") / "templates"


@dataclass(frozen=True)
class Picture:
    """A mistake as the page shows it: a JPEG in base64, and boxes in its own coordinates (x, y, width, height)."""

    mistake: Mistake
    jpeg: str
    size_wh: tuple[float, float]
    box: Box
    other: Box | None


def render(
    history: History,
    evidence: Evidence | None = None,
    crops: Mapping[Mistake, Crop] | None = None,
) -> str:
    """Render the report as the text of an HTML page.

    Args:
        history: what is reported on.
        evidence: the analysis of the champion's detections; sections that need it are left out where None.
        crops: pictures of the listed mistakes; mistakes without one are not shown.
    """
    analysis = analyse(history)
    headline, _, why = (analysis.recommendations or ("Nothing to do.",))[0].partition(WHY_IT_ENDED)
    script = _text("sort.js")
    return (
        _environment()
        .from_string(_text("report.html.j2"))
        .render(
            history=history,
            analysis=analysis,
            evidence=evidence or Evidence(0),
            headline=headline.strip(),
            why=why.strip(),
            warnings=(*gap_warnings(evidence, analysis.metric), *analysis.warnings) if evidence else analysis.warnings,
            lessons=lessons(evidence) if evidence else (),
            kinds=KINDS,
            **_of_strategy(analysis),
            **_of_phases(history, analysis),
            **_of_exam(history, evidence),
            target=target_figure(history, analysis, evidence),
            curves=curves(history, analysis),
            errors=mistake_figures(evidence) if evidence else (),
            calibration=calibration_figure(evidence) if evidence else None,
            misses=tuple(_pictures(evidence.misses if evidence else (), crops or {})),
            false_alarms=tuple(_pictures(evidence.false_alarms if evidence else (), crops or {})),
            settings=_settings(history),
            sets=sets_in_words(history),
            epochs=latest_per_epoch(history.records),
            left_out=_left_out(history, evidence),
            style=Markup(_text("style.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _of_phases(history: History, analysis: Analysis) -> dict[str, Any]:
    """The template's values on phases and rounds."""
    axis, gains = phase_rows(history, analysis)
    return {
        "numbers": phase_numbers(history),
        "tones": PHASE_TONES,
        "reviews": {review.phase: review for review in analysis.phases},
        "gain_axis": axis,
        "gains": gains,
        "rounds": round_figures(history),
    }


def _of_strategy(analysis: Analysis) -> dict[str, Any]:
    """The template's values that come from the strategy; a table without content is None."""
    found = analysis.timeline
    expects = found is not None and found.expects_something
    return {
        "criteria": criteria(analysis),
        "watched_head": key_metrics.HEAD,
        "guard": key_metrics.guard_metric(analysis.guard),
        "planned": filled(timeline.HEAD, timeline.cells(found)) if found is not None and expects else None,
        "risks": filled(risks.HEAD, risks.cells(analysis.risks)) if analysis.risks else None,
    }


def _of_exam(history: History, evidence: Evidence | None) -> dict[str, Any]:
    """What stands first: the lift on images that no decision has seen, and beside it the one on the others."""
    return {"exam_lines": exam_lines(history, evidence), "lifts": lifts_of(history, evidence)}


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_printed
    )
    environment.filters |= {"interval": _interval, "duration": _duration, "value": _value}
    environment.filters |= {"counted": counted, "setting": setting}
    return environment


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _printed(value: Any) -> Any:
    """Make control characters in a text visible; leave markup and other values as they are."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _interval(estimate: Estimate, spec: str = ".3f") -> str:
    return "" if math.isnan(estimate.low) else ends(estimate, spec)


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _value(number: float, spec: str = ".3f") -> str:
    return "" if math.isnan(number) else written(number, spec)


def _pictures(mistakes: tuple[Mistake, ...], crops: Mapping[Mistake, Crop]) -> Iterator[Picture]:
    for mistake in mistakes:
        crop = crops.get(mistake)
        if crop is not None:
            x1, y1, x2, y2 = crop.window
            jpeg = base64.b64encode(crop.jpeg).decode("ascii")
            other = None if mistake.other is None else _moved(mistake.other, crop.window)
            yield Picture(mistake, jpeg, (x2 - x1, y2 - y1), _moved(mistake.box, crop.window), other)


def _moved(box: Box, window: Box) -> Box:
    """A box (xyxy, px, image frame) as x, y, width, height, px, from the window's corner."""
    return box[0] - window[0], box[1] - window[1], box[2] - box[0], box[3] - box[1]


def _settings(history: History) -> list[tuple[str, Any, dict[str, Any]]]:
    """Keys that any phase changed: the configured value, and the value in effect in each phase that ran."""
    configured = flatten(history.config or {})
    ran = [phase for phase in history.phases if phase.begun and not phase.only_measures]
    keys = sorted({key for phase in ran for key in phase.settings})
    return [
        (key, configured.get(key, ""), {p.name: p.settings.get(key, configured.get(key, "")) for p in ran})
        for key in keys
    ]


def _left_out(history: History, evidence: Evidence | None) -> list[str]:
    notes = list(evidence.left_out if evidence else ())
    if evidence is None:
        notes.append("Mistakes, thresholds and pictures: no champion's detections are at hand.")
    if not history.phases:
        notes.append("Phases, decisions and settings: no strategy led these epochs.")
    return notes
