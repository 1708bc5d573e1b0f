"""The report in a few lines of Markdown, for a terminal or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from smallsight.evaluation.evidence import Evidence
from smallsight.records import EpochRecord, Estimate
from smallsight.report import key_metrics, risks, rounds, timeline
from smallsight.report.analysis import analyse
from smallsight.report.cause import cause_cells
from smallsight.report.criteria import criteria
from smallsight.report.exam import exam_lines
from smallsight.report.findings import Analysis, Insight, Mark
from smallsight.report.history import History
from smallsight.report.lessons import SIZES, VISIBLE, costliest, gap_warnings, lessons, sizes_apart
from smallsight.report.memory_words import memory_in_words
from smallsight.report.rounds import phase_cells, phases_head
from smallsight.report.sets import sets_in_words
from smallsight.report.words import Rows, filled, visible, written


def to_markdown(history: History, evidence: Evidence | None = None) -> str:
    """The report as Markdown; markup in words that come from data is escaped."""
    analysis = analyse(history)
    first, *others = analysis.recommendations or ("",)
    parts = [
        _bullets(exam_lines(history, evidence)),
        [f"**Next:** {plain(first)}"],
        *([plain(f"{command.title}:"), "```bash", visible(command.line), "```"] for command in history.commands),
        _bullets(others),
        table(("", analysis.metric, "n"), _reached(history, analysis, evidence)),
        _bullets(criteria(analysis)),
        [plain(analysis.progress)] if analysis.progress else [],
        [line for insight in analysis.insights for line in _insight(insight)],
        table(key_metrics.HEAD, _plain(key_metrics.cells(analysis.key_metrics))),
        *_strategy(analysis),
        table(phases_head(history), _plain(phase_cells(history, analysis))),
        _bullets(f"{name}: {words}" for name, words in cause_cells(history)),
        [plain(history.error_rate)] if history.error_rate else [],
        *_rounds(history),
        [plain(memory_in_words(history))],
        [plain(" ".join(lessons(evidence)))] if evidence else [],
        table(("size", "AP50", "found", "costs most", "AP50 lost"), _sizes(evidence)) if evidence else [],
        _bullets(sets_in_words(history)),
        _bullets((*(gap_warnings(evidence, analysis.metric) if evidence else ()), *analysis.warnings)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if any(part)) + "\n"


def _insight(insight: Insight) -> Iterator[str]:
    yield f"- **{plain(insight.topic)}**: {plain(insight.text)}"
    if insight.command:
        yield f"  `{visible(insight.command).replace('`', '')}`"


def _strategy(analysis: Analysis) -> Iterator[list[str]]:
    """The expected timeline, and the risks."""
    found = analysis.timeline
    if found is not None and found.expects_something:
        head, rows = filled(timeline.HEAD, timeline.cells(found))
        yield table(head, _plain(rows))
        yield [plain(found.note)]
    if analysis.risks:
        head, rows = filled(risks.HEAD, risks.cells(analysis.risks))
        yield table(head, _plain(rows))


def _plain(rows: Rows) -> Iterator[tuple[str, ...]]:
    return (tuple(plain(cell) for cell in row) for row in rows)


def _reached(history: History, analysis: Analysis, evidence: Evidence | None) -> Iterator[tuple[str, str, str]]:
    if history.baseline is not None:
        yield _row("baseline", _mark(history.baseline, analysis.metric))
    if analysis.current is not None:
        yield _row("champion" if history.champion else "latest", analysis.current)
    if evidence is not None and evidence.lift is not None:
        yield "lift, same images", written(evidence.lift, "+.3f"), str(evidence.lift.n)
    for gap in evidence.gaps if evidence else ():
        yield plain(gap.name), written(gap.value), str(gap.value.n)


def _row(name: str, mark: Mark) -> tuple[str, str, str]:
    return f"{name}, epoch {mark.epoch}", written(mark.value), str(mark.value.n or "")


def _mark(record: EpochRecord, metric: str) -> Mark:
    return Mark(record.epoch, record.metrics.get(metric, Estimate(float("nan"))))


def _rounds(history: History) -> Iterator[list[str]]:
    """Of each round its heading, its arms and what became of them."""
    for each in history.rounds:
        yield [f"**{plain(rounds.heading(each))}**"]
        yield table(rounds.HEAD, _plain(rounds.cells(history, each)))
        yield _bullets(rounds.in_words(history, each))


def _sizes(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for size in sizes_apart(evidence):
        part = costliest(size)
        name = SIZES.get(size.size_bin, size.size_bin)
        costs = (part.kind, written(part.ap_lost)) if part.ap_lost.value >= VISIBLE else ("nothing", "")
        yield name, written(size.ap_50, ".2f"), f"{size.found} of {size.objects}", *costs


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a table; none where it has no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines] if lines else []


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"- {plain(line)}" for line in lines]


def plain(words: str) -> str:
    """Escape what Markdown would take for a table, a link, code or HTML, and make control characters visible."""
    return re.sub(r"([\\`*<|]|\](?=\())", r"\\\1", visible(words))
