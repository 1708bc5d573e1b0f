"""What a run shows while it runs: a progress bar, a line per epoch and per decision; plain lines without a terminal."""

from __future__ import annotations

import math
from typing import IO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from smallsight.attempts.messages import Evaluating, SignOfLife, Step, Stopping
from smallsight.commands.run_log import RunLog
from smallsight.errors import visible
from smallsight.evaluation.set_figures import in_short
from smallsight.records import Decision, EpochRecord, gigabytes, shown

_WIDE = 80
"""From so many columns on, there is room for losses beside the bar."""
_LOG_WIDTH = 120
_SHOWN = (("AP", "map_50_95"), ("AP50", "map_50"), ("AP small", "map_small"), ("recall", "recall_50"))


class Terminal:
    """Shows a run on a console; a context manager, because the progress bar has to be removed at the end.

    Args:
        console: where the run is shown.
        metric: the target metric.
        log: gets the same lines.

    Attributes:
        consoles: the console, and one that writes to the log; for longer texts, such as the final report.
    """

    def __init__(self, console: Console, metric: str, log: RunLog) -> None:
        self.console, self.metric, self._log = console, metric, log
        plain = Console(
            file=cast(IO[str], log), width=_LOG_WIDTH, force_terminal=False, color_system=None, highlight=False
        )
        self.consoles = (console, plain)
        room = Column(no_wrap=True, max_width=console.width - 50)
        figures = TextColumn("{task.fields[figures]}", markup=False, table_column=room)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[place]}"),
            *([figures] if console.width >= _WIDE else []),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            expand=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=1, visible=False, place="", figures="")
        self._shown: tuple[int, int] | None = None

    def __enter__(self) -> Terminal:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _line(self, *parts: str | tuple[str, str]) -> None:
        safe = (visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts)
        line = Text.assemble(*safe)
        self._log.line(line.plain)
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    def decided(self, decision: Decision) -> None:
        """A line per decision."""
        word = "Stop" if decision.action == "stop" else "Next"
        changes = ", ".join(f"{key}={value}" for key, value in decision.settings.items())
        self._line((f"{word}: ", "bold"), decision.reason, f" [{changes}]" if changes else "")

    def note(self, text: str) -> None:
        """Print any other line."""
        self._line(text)

    def command(self, title: str, line: str) -> None:
        """A command to paste into a shell; it is not wrapped, however narrow the terminal is."""
        self._line((f"{title}:", "bold"))
        self._log.line(line)
        self.console.print(Text(visible(line)), soft_wrap=True)

    def epoch(self, record: EpochRecord, best: float) -> None:
        """A line per epoch, with the change against the best so far."""
        self._progress.update(self._task, visible=False)
        figures = "  ".join(f"{name} {shown(record.value(key))}" for name, key in _SHOWN)
        change = record.value(self.metric) - best
        tail = "" if math.isnan(change) else f"  ({shown(change, '+.3f')} to best)"
        loss = "" if math.isnan(record.train_loss) else f"  loss {record.train_loss:.3f} / {record.val_loss:.3f}"
        self._line(
            (f"{record.phase} epoch {record.epoch}", "bold"),
            f"  {figures}",
            (tail, "green" if change > 0 else "yellow"),
            *(f"  {name} {in_short(found, self.metric)}" for name, found in record.sets.items()),
            f"{loss}  {record.seconds:.0f} s",
        )

    def progress(self, message: SignOfLife) -> None:
        """Show a training step, an evaluation or a stop request."""
        if isinstance(message, Stopping):
            self.note("Stopping after this step; the state is saved first, which may take up to 30 s.")
        elif isinstance(message, Evaluating):
            said = f"epoch {message.epoch}: evaluating"
            self._progress.update(self._task, visible=True, description=said, total=None, place="", figures="")
        elif isinstance(message, Step):
            losses = " ".join(f"{name} {value:.3f}" for name, value in message.losses.items())
            memory = gigabytes(message.memory_mb, message.memory_limit_mb)
            goes_back = message.batch < self._progress.tasks[self._task].completed
            if goes_back or self._shown != (message.epoch, message.batches):
                # Otherwise the evaluation between two epochs would count in the speed and in the time left.
                self._shown = (message.epoch, message.batches)
                self._progress.reset(self._task, total=message.batches, completed=message.batch)
            self._progress.update(
                self._task,
                visible=True,
                description=f"epoch {message.epoch}/{message.last_epoch}",
                completed=message.batch,
                total=message.batches,
                place=f"{message.batch}/{message.batches}",
                figures=f"{losses}  lr {message.learning_rate:.1e}  {memory}",
            )
