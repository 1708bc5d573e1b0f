"""What a run shows: the same words at any width, plain lines without a terminal, names as they are."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from smallsight.attempts.messages import Alive, Evaluating, Step
from smallsight.attempts.spec import AttemptSpec
from smallsight.commands.run_log import RunLog
from smallsight.commands.terminal import Terminal
from smallsight.records import Decision, EpochRecord, Estimate

RECORD = EpochRecord(
    7,
    "[red]phase[/]",
    1,
    {"map_50_95": Estimate(0.4), "map_50": Estimate(0.7), "map_small": Estimate(0.25), "recall_50": Estimate(0.9)},
    train_loss=1.5,
    val_loss=1.75,
    seconds=61.4,
)
STEP = Step(
    epoch=7,
    last_epoch=10,
    batch=3,
    batches=12,
    losses={"box": 0.5},
    learning_rate=0.002,
    memory_mb=1500.0,
    memory_limit_mb=24_100.0,
)
SPEC = AttemptSpec("r", "run", "run/phases/01_first/attempt_1", RECORD.phase, 1, {}, 1, 10, "scratch")


class Screen:
    """A console and what is written on it."""

    def __init__(self, *, is_terminal: bool, width: int = 80) -> None:
        self.out = io.StringIO()
        self.console = Console(
            file=self.out,
            force_terminal=is_terminal,
            width=width,
            color_system=None,
            highlight=False,
            legacy_windows=False,
        )

    @property
    def text(self) -> str:
        return self.out.getvalue()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    with RunLog(tmp_path / "run.log") as opened:
        yield opened


@pytest.fixture
def plain(log: RunLog) -> Iterator[tuple[Terminal, Screen]]:
    screen = Screen(is_terminal=False, width=40)
    with Terminal(screen.console, "map_small", log) as terminal:
        yield terminal, screen


def test_a_line_per_epoch(plain: tuple[Terminal, Screen]) -> None:
    terminal, screen = plain
    terminal.epoch(RECORD, 0.2)
    assert screen.text == (
        "[red]phase[/] epoch 7  AP 0.400  AP50 0.700  AP small 0.250  recall 0.900  (+0.050 to best)"
        "  loss 1.500 / 1.750  61 s\n"
    )


@pytest.mark.parametrize(
    ("record", "best", "present", "absent"),
    [
        (RECORD, math.nan, "recall 0.900  loss", "to best"),
        (RECORD, 0.3, "(-0.050 to best)", "+"),
        (replace(RECORD, train_loss=math.nan), 0.2, "to best)  61 s", "loss"),
        (replace(RECORD, metrics={}), 0.2, "AP small n/a", "to best"),
    ],
)
def test_what_is_not_known_is_not_shown(
    plain: tuple[Terminal, Screen], record: EpochRecord, best: float, present: str, absent: str
) -> None:
    plain[0].epoch(record, best)
    assert present in plain[1].text and absent not in plain[1].text and "nan" not in plain[1].text


def test_a_line_per_decision_and_note(plain: tuple[Terminal, Screen]) -> None:
    terminal, screen = plain
    terminal.decided(Decision("run", "it [bold]rises[/bold] :fire:", "a", {"training.epochs": 3, "x.y": "[b]z"}))
    terminal.decided(Decision("stop", "nothing is left"))
    terminal.note("[link=x]a note[/] of more than forty characters in all")
    assert screen.text.splitlines() == [
        "Next: it [bold]rises[/bold] :fire: [training.epochs=3, x.y=[b]z]",
        "Stop: nothing is left",
        "[link=x]a note[/] of more than forty characters in all",
    ]


def test_progress_needs_a_terminal(plain: tuple[Terminal, Screen]) -> None:
    terminal, screen = plain
    terminal.progress(SPEC, STEP)
    terminal.progress(SPEC, Evaluating(7))
    terminal.progress(SPEC, Alive())
    assert screen.text == ""


@pytest.mark.parametrize("width", [20, 40, 200])
def test_progress_fits_its_terminal(width: int, log: RunLog) -> None:
    screen = Screen(is_terminal=True, width=width)
    with Terminal(screen.console, "map_small", log) as terminal:
        terminal.progress(SPEC, replace(STEP, losses={"[red]box[/]": 0.5}))
        terminal._progress.refresh()
        terminal.progress(SPEC, Evaluating(7))
        terminal.epoch(RECORD, 0.2)
        terminal.note("[red]as it is[/]")
    logged = [line.partition("  ")[2] for line in log.path.read_text().splitlines()]
    assert logged[0].startswith("[red]phase[/] epoch 7  AP 0.400") and logged[1:] == ["[red]as it is[/]"], "no bar"
    shown = screen.text
    words = " ".join(shown.split())
    assert "[red]phase[/] epoch 7" in words and "[red]as it is[/]" in words
    assert "epoch 7/10" in shown if width > 20 else True
    if width == 40:
        assert "3/12" in shown and "lr" not in shown
    if width == 200:
        assert "epoch 7/10" in shown and "3/12" in shown and "[red]box[/] 0.500  lr 2.0e-03  1.5 of 24 GB" in shown


def test_the_time_left_is_reckoned_anew_in_each_epoch(log: RunLog) -> None:
    screen = Screen(is_terminal=True, width=200)
    with Terminal(screen.console, "map_small", log) as terminal:
        now = 0.0
        terminal._progress.get_time = lambda: now
        terminal.progress(SPEC, replace(STEP, epoch=1, batch=0))
        (task,) = terminal._progress.tasks
        for epoch in (1, 2):
            for batch in range(1, 13):
                now += 1.0
                terminal.progress(SPEC, replace(STEP, epoch=epoch, batch=batch))
                if batch == 6:
                    assert task.time_remaining == 6.0 and not task.finished
            terminal.progress(SPEC, Evaluating(epoch))
            now += 30.0
        terminal.progress(SPEC, replace(STEP, epoch=2, batch=1))
        assert task.completed == 1, "an attempt that begins the same epoch again begins the bar again"


def test_each_of_several_attempts_has_its_bar_until_its_epoch_is_done(log: RunLog) -> None:
    screen = Screen(is_terminal=True, width=200)
    with Terminal(screen.console, "map_small", log) as terminal:
        first, second = (replace(SPEC, phase=name, beside_others=True) for name in ("continue", "copy_paste"))
        terminal.progress(first, STEP)
        terminal.progress(second, replace(STEP, batch=4))
        terminal.progress(first, replace(STEP, batch=6))
        assert [(task.description, task.completed) for task in terminal._progress.tasks] == [
            ("continue epoch 7/10", 6),
            ("copy_paste epoch 7/10", 4),
        ]
        terminal.epoch(replace(RECORD, phase="continue"), 0.2)
        assert [task.description for task in terminal._progress.tasks] == ["copy_paste epoch 7/10"]


def test_an_epoch_names_what_was_found_on_further_sets(plain: tuple[Terminal, Screen]) -> None:
    terminal, screen = plain
    video = {name: Estimate(0.35, n=20) for name in ("found_10", "found_40", "detections_10", "top_score")}
    sets = {"real": {"map_small": Estimate(0.125, n=34)}, "[b]video": video}
    terminal.epoch(replace(RECORD, sets=sets), 0.2)
    assert "(+0.050 to best)  real 0.125  [b]video 7/20 frames  loss 1.500" in screen.text
