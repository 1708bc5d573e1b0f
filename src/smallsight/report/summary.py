"""The summary for a terminal: what to do next, what was reached, what was decided and why.

Words that come from data are printed as text: markup in a name has no effect, control characters are made visible.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from smallsight.evaluation.evidence import Evidence
from smallsight.records import Decision, EpochRecord, Estimate
from smallsight.report import key_metrics, risks, rounds, timeline
from smallsight.report.cause import cause_cells
from smallsight.report.comparison import Comparison, tables
from smallsight.report.criteria import level_in_words
from smallsight.report.exam import exam_lines
from smallsight.report.findings import Analysis, Mark
from smallsight.report.history import History
from smallsight.report.lessons import gap_warnings, lessons
from smallsight.report.sets import sets_in_words
from smallsight.report.words import Rows, counted, filled, setting, visible, written

_TABLE_WIDTH = 80
"""Below, a table of phases would break words."""
_OUTCOME_STYLES = {
    "improved": "green",
    "regressed": "red",
    "failed": "red",
    "halted": "red",
    "running": "cyan",
    "interrupted": "yellow",
}
_SEVERITY_STYLES = {"high": "bold red", "medium": "yellow", "low": "dim"}


def print_summary(
    console: Console,
    history: History,
    analysis: Analysis,
    report: Path | None = None,
    evidence: Evidence | None = None,
) -> None:
    """Print what was decided and why, to be read at 60 columns and at 120.

    Args:
        console: colours are dropped where it is no terminal.
        report: path of the written report, named at the end.
        evidence: the analysis of the champion's detections, where there is one.
    """
    for number, line in enumerate(exam_lines(history, evidence)):
        console.print(Padding(_text(line), (0, 0, 0, 2)) if number else _text(line, "bold"))
    first, *others = analysis.recommendations or ("",)
    console.print(_text(f"Next: {first}", "bold"))
    for command in history.commands:
        console.print(_heading(command.title))
        console.print(_text(command.line), soft_wrap=True)
    _print_list(console, "Then", others)
    _print_reached(console, history, analysis)
    _print_insights(console, analysis)
    _print_table(console, "Figures to watch", key_metrics.HEAD, key_metrics.cells(analysis.key_metrics))
    if analysis.timeline is not None and analysis.timeline.expects_something:
        title = f"Expected timeline, {analysis.metric}"
        _print_table(console, title, *filled(timeline.HEAD, timeline.cells(analysis.timeline)))
        console.print(Padding(_text(analysis.timeline.note), (0, 0, 0, 2)))
    _print_phases(console, history, analysis)
    for each in history.rounds:
        _print_list(console, rounds.heading(each), rounds.in_words(history, each))
        _print_arms(console, "", *filled(rounds.HEAD, rounds.cells(history, each)))
    _print_table(console, "Risks", *filled(risks.HEAD, risks.cells(analysis.risks)))
    _print_list(console, "Decisions", (_decision(decision) for decision in history.decisions))
    _print_signs(console, analysis)
    _print_issues(console, analysis)
    if evidence is not None:
        _print_list(console, "Mistakes", lessons(evidence))
    _print_list(console, "On other images", sets_in_words(history))
    gaps = gap_warnings(evidence, analysis.metric) if evidence is not None else ()
    _print_list(console, "Not to conclude", (*gaps, *analysis.warnings))
    if report is not None:
        console.print()
        console.print(_text(f"Report: {report}"))


def comparison_in_words(comparison: Comparison, width: int | None = None) -> str:
    """The comparison as text for a terminal; `width` in columns, the terminal's own where None."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with console.capture() as printed:
        _print_comparison(console, comparison)
    return "\n".join(line.rstrip() for line in printed.get().splitlines())


def _print_comparison(console: Console, comparison: Comparison) -> None:
    console.print(_text(comparison.verdict(), "bold"))
    console.print()
    for letter, history in (("A", comparison.first), ("B", comparison.second)):
        console.print(_text(f"{letter}  {history.source}"))
    for head, rows in tables(comparison, "A", "B"):
        if rows:
            table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
            for name in head:
                table.add_column(name, header_style="dim", overflow="fold")
            for row in rows:
                table.add_row(*map(_text, row))
            console.print()
            console.print(table)


def _print_reached(console: Console, history: History, analysis: Analysis) -> None:
    console.print(_heading(analysis.metric))
    table = Table.grid(padding=(0, 2))
    for label, value in _reached(history, analysis):
        table.add_row(_text(label), _text(value))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _reached(history: History, analysis: Analysis) -> Iterable[tuple[str, str]]:
    if history.baseline is not None or history.champion is not None:
        yield "baseline", _of_record(history.baseline, analysis.metric)
        yield "champion", _of_record(history.champion, analysis.metric)
    else:
        yield "first", _of_mark(analysis.first)
    yield "latest", _of_mark(analysis.latest)
    yield "best", _of_mark(analysis.best)
    if analysis.progress:
        yield "progress", analysis.progress
    yield from ((f"{level.name} {level.value:.2f}", level_in_words(level)) for level in analysis.levels)


def _print_insights(console: Console, analysis: Analysis) -> None:
    if not analysis.insights:
        return
    console.print(_heading("Key insights"))
    for insight in analysis.insights:
        line = _text(f"{insight.topic}: ", "bold").append_text(_text(insight.text))
        console.print(Padding(line, (0, 0, 0, 2)))
        if insight.command:
            console.print(_text(f"    {insight.command}"), soft_wrap=True)


def _print_table(console: Console, title: str, head: tuple[str, ...], rows: Rows) -> None:
    """A table; a line for each row where the terminal is too narrow for it."""
    if not rows:
        return
    widest = [
        max(len(word) for cell in column for word in (cell.split() or [""])) for column in zip(head, *rows, strict=True)
    ]
    if sum(widest) + 2 * len(widest) + 2 > console.width or console.width < _TABLE_WIDTH:
        _print_list(console, title, (_line(head, row) for row in rows))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name, width in zip(head, widest, strict=True):
        table.add_column(name, header_style="dim", overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*map(_text, row))
    console.print(_heading(title))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _line(head: tuple[str, ...], row: tuple[str, ...]) -> str:
    named = (f"{name} {cell}" for name, cell in zip(head[1:], row[1:], strict=True) if cell)
    return f"{row[0]}: {', '.join(named)}"


def _print_phases(console: Console, history: History, analysis: Analysis) -> None:
    """The phases, and how much of what each measured is more training."""
    rows = rounds.phase_cells(history, analysis)
    _print_arms(console, "Phases", *filled(rounds.phases_head(history), rows))
    told = [f"{name}: {words}" for name, words in cause_cells(history)]
    _print_list(console, "How much of it is more training", [*told, *filter(None, [history.error_rate])])


def _print_arms(console: Console, title: str, head: tuple[str, ...], rows: Rows) -> None:
    """A table whose last column is an outcome; a line for each row where a cell would have to be broken."""
    if not rows:
        return
    widest = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    if sum(widest) + 2 * len(widest) > console.width:
        _print_list(console, title, (_arm_line(head, row) for row in rows))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in head:
        table.add_column(name, header_style="dim", overflow="fold")
    for *cells, outcome in rows:
        table.add_row(*map(_text, cells), _text(outcome, _OUTCOME_STYLES.get(outcome.partition(",")[0], "")))
    if title:
        console.print(_heading(title))
    console.print(table)


def _arm_line(head: tuple[str, ...], row: tuple[str, ...]) -> str:
    """`multi_scale, epochs 8-9: improved; expected +0.020 to +0.050; +0.031 [+0.010, +0.050] against the champion`."""
    cells = dict(zip(head[1:], row[1:], strict=True))
    outcome, epochs = cells.pop("outcome"), cells.pop("epochs", "")
    known = ((name, cell) for name, cell in cells.items() if cell)
    parts = (f"{cell} {name}" if name.startswith("against") else f"{name} {cell}" for name, cell in known)
    return "; ".join([f"{row[0]}{f', epochs {epochs}' if epochs else ''}: {outcome}", *parts])


def _print_signs(console: Console, analysis: Analysis) -> None:
    flat = analysis.plateau
    slope = "yes" if flat.by_slope else "no"
    patience = "yes" if flat.by_patience else "no"
    fired = "" if flat.patience_fired_at is None else f" (first fired at epoch {flat.patience_fired_at})"
    lines = [
        f"lately: {analysis.standing.reason}",
        f"plateau by slope: {slope}",
        f"plateau by patience: {patience}{fired}",
        f"decided by {flat.rule}: {flat.reason}",
        f"overfitting: {analysis.overfits}, {analysis.overfitting.reason}",
    ]
    _print_list(console, "Signs", lines)


def _print_issues(console: Console, analysis: Analysis) -> None:
    if not analysis.open_issues:
        return
    console.print(_heading("Configuration"))
    for issue in analysis.open_issues:
        line = _text(issue.severity, _SEVERITY_STYLES[issue.severity])
        line.append_text(_text(f"  {issue.key}: {issue.message}; {issue.remedy}"))
        console.print(Padding(line, (0, 0, 0, 2)))


def _print_list(console: Console, title: str, lines: Iterable[str]) -> None:
    lines = tuple(lines)
    if not lines:
        return
    if title:
        console.print(_heading(title))
    table = Table.grid(padding=(0, 1))
    for line in lines:
        table.add_row("-", _text(line))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _decision(decision: Decision) -> str:
    if decision.action == "stop":
        return f"stop: {decision.reason}"
    epochs = f", {counted(decision.epochs, 'epoch')}" if decision.epochs else ""
    arms = "; ".join(f"{arm.phase}{_settings(arm)}" for arm in decision.arms if arm.settings)
    each = f" ({arms})" if arms else ""
    return f"run {decision.phase}{epochs}{_settings(decision)}: {decision.reason}{each}"


def _settings(decision: Decision) -> str:
    settings = ", ".join(f"{key}={setting(value)}" for key, value in decision.settings.items())
    return f" ({settings})" if settings else ""


def _of_record(record: EpochRecord | None, metric: str) -> str:
    if record is None or metric not in record.metrics:
        return "n/a"
    return _of_mark(Mark(record.epoch, record.metrics[metric]))


def _of_mark(mark: Mark | None) -> str:
    return "n/a" if mark is None else f"{written(mark.value)}{_count(mark.value)}, epoch {mark.epoch}"


def _count(estimate: Estimate) -> str:
    return f", n={estimate.n}" if estimate.n else ""


def _heading(title: str) -> Text:
    return Text("\n").append_text(_text(title, "bold"))


def _text(words: str, style: str = "") -> Text:
    """Text without markup; control characters, which a name may contain, as escapes."""
    return Text(visible(words), style=style)
