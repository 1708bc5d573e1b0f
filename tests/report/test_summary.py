"""The summary in a terminal: all that was decided, at any width, with names as they are."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from report.evidence import evidence
from smallsight.records import Decision, Estimate, Verdict
from smallsight.report.analysis import analyse
from smallsight.report.history import History, PhaseStory, TargetAndGuard
from smallsight.report.html import render
from smallsight.report.markdown import to_markdown
from smallsight.report.summary import print_summary


def summary(history: History, width: int = 200, *, terminal: bool = False, report: Path | None = None) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else "auto",
        no_color=False,
    )
    print_summary(console, history, analyse(history), report)
    return console.file.getvalue()  # type: ignore[attr-defined]


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("width", [60, 120])
def test_a_recorded_run_is_readable_at_any_width(recorded: History, width: int) -> None:
    text = summary(recorded, width, report=Path("out/report.json"))
    assert max(len(line) for line in text.splitlines()) <= width
    flat = one_line(text)
    assert flat.startswith("Next: Train on with the current settings: map_small rises by 0.0036 [0.0023, 0.0049]")
    for words in (
        "latest 0.598, epoch 39",
        "best 0.600, epoch 33",
        "progress +0.071 in 19 epochs (epoch 20 to 39), +0.0044 per recorded step, +0.0037 per elapsed epoch.",
        "minimum 0.65 0.052 to go",
        "target: map_small is 0.598 (59.8%) at epoch 39",
        "because epochs 36 to 38 were not recorded",
        "0.052 to go, about 14 epochs [6 to 30]",
        "plateau by slope: no",
        "plateau by patience: yes (first fired at epoch 32)",
        "overfitting: can't be told, too few epochs with both losses to tell (0 recorded, 3 needed)",
        "The best of 17 epochs",
        "Report: out/report.json",
    ):
        assert words in flat


@pytest.mark.parametrize("width", [60, 120])
def test_a_run_tells_its_phases_and_decisions(run: History, width: int) -> None:
    text = summary(run, width)
    assert max(len(line) for line in text.splitlines()) <= width
    flat = one_line(text)
    for words in (
        "baseline 0.500 [0.460, 0.540], n=80, epoch 0",
        "champion 0.560 [0.460, 0.700], n=80, epoch 6",
        "stop: nothing is left to try",
        "training.num_workers: images are decoded",
    ):
        assert words in flat
    assert {"1-6", "7-12"} <= set(re.findall(r"[0-9]+-[0-9]+", flat)) and "improved" in flat


@pytest.mark.parametrize("width", [40, 60])
def test_no_word_is_broken_on_a_narrow_terminal(run: History, width: int) -> None:
    text = summary(replace(run, phases=tuple(replace(phase, name="higher_resolution") for phase in run.phases)), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert {"higher_resolution,", "improved,", "evidence,", "training.num_workers:", "overfitting:"} <= set(
        text.split()
    )
    assert "higher_resolution, epochs 7-12: no evidence, +0.010 [-0.020, +0.020] below expected" in one_line(text)


def test_one_is_not_many(run: History) -> None:
    phase = PhaseStory("again", "Again", 13, 13, "no_evidence")
    decision = Decision("run", "once more", "again", {"training.multi_scale": None}, 1)
    records = (run.records[0], replace(run.records[0], epoch=2))
    flat = one_line(summary(replace(run, records=records, phases=(phase,), decisions=(decision,))))
    assert "in 1 epoch (epoch 1 to 2)" in flat and "again 13 no evidence" in flat
    assert "run again, 1 epoch (training.multi_scale=not set): once more" in flat


def test_phases_without_epochs_say_so(run: History) -> None:
    phases = (PhaseStory("a", "A", 4, 3, "failed"), PhaseStory("b", "B", 0, 0, "skipped"))
    text = summary(replace(run, phases=phases))
    assert re.search(r"^a +none +failed", text, re.MULTILINE) and re.search(r"^b +skipped", text, re.MULTILINE)


@pytest.mark.parametrize("value", [0.0, 1.0, -1e-9, math.nan])
def test_odd_figures_read_well(run: History, value: float) -> None:
    """AP of nothing or of everything, in every epoch; differences a hair below zero; nothing known."""
    metrics = {name: Estimate(max(value, 0.0) if value == value else value, n=3) for name in ("map_small", "map_50_95")}
    records = tuple(replace(record, metrics=metrics) for record in run.records)
    verdict = Verdict("no_evidence", Estimate(value, value, value), Estimate(value), "so")
    history = replace(
        run,
        records=records,
        baseline=records[0],
        champion=records[5],
        phases=tuple(replace(phase, verdict=verdict) for phase in run.phases),
    )
    found = replace(evidence(), lift=Estimate(value, value, value, 3))
    for text in (summary(history), to_markdown(history, found), render(history, found)):
        assert not re.search(r"\bnan\b|\binf\b|-0\.0+(?![0-9])|None", text)


def test_one_phase_is_one_row(run: History) -> None:
    assert re.search(
        r"multi_scale +7-12 +\+0\.030 to \+0\.050 +\+0\.010 \[-0\.020, \+0\.020\] below expected +no evidence",
        summary(run),
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_markup_in_names_is_text(run: History, terminal: bool) -> None:
    text = summary(run, terminal=terminal)
    for words in ("[red]x[/]", "[link=x]still[/link] rising", "training.epochs=[b]6"):
        assert words in text
    stopped = replace(run, target=TargetAndGuard(minimum=0.5))
    assert "runs/[bold]one/checkpoint_best.pth" in summary(stopped, terminal=terminal)


def test_control_characters_are_made_visible(run: History) -> None:
    text = summary(replace(run, decisions=(Decision("stop", "\x1b[31mred\x07\r\n\u202eend"),)))
    assert "stop: \\x1b[31mred\\x07\\r\\n\\u202eend" in text
    assert "\x1b" not in text


def test_plain_where_it_is_no_terminal(run: History) -> None:
    assert "\x1b" not in summary(run)
    assert "\x1b" in summary(run, terminal=True)


def test_a_history_without_epochs() -> None:
    flat = one_line(summary(History("empty", ())))
    assert flat.startswith("Next: Train and record: no epoch with map_small is recorded yet.")
    assert "nan" not in flat


def test_a_level_that_is_reached_and_a_guard(run: History) -> None:
    flat = one_line(summary(replace(run, target=TargetAndGuard(minimum=0.45, success=0.5, guard_floor=0.72))))
    assert "0.45 reached" in flat
    assert "0.50 reached, but possibly by chance" in flat
    assert "map_50_95 0.700 [0.600, 0.800], n=200 0.720 or more, by the baseline NOT kept" in flat
