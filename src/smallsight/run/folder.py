"""The files of a run: every name and path of a run folder stands here, and who holds the folder."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smallsight.errors import RunFolderError

_LIGHTWEIGHT = re.compile(r"checkpoint_epoch_(\d+)_lightweight\.pth")


@dataclass(frozen=True)
class AttemptFolder:
    """The folder of one attempt of a phase: `phases/01_continue/attempt_1`.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def spec(self) -> Path:
        """What the attempt's processes are told."""
        return self.path / "attempt.json"

    @property
    def log(self) -> Path:
        """What the attempt's processes printed; of several machines, those on the first."""
        return self.path / "worker.log"

    def log_of_node(self, node: int) -> Path:
        """What its processes on a further machine printed."""
        return self.path / f"worker_node_{node}.log"

    @property
    def best(self) -> Path:
        """The state after its best epoch."""
        return self.path / "best.pth"

    def detections(self, epoch: int, *, other: bool = False) -> Path:
        """Detections on the validation set after an epoch, by the judged weights or by the other ones."""
        return self.path / "detections" / f"valid_epoch_{epoch:03d}{'_other' if other else ''}.npz"

    def not_a_number(self, which: str) -> Path:
        """Batch, seed and weights of a step whose loss or weights are no numbers."""
        return self.path / f"not_a_number{which}.pth"

    @property
    def tensorboard(self) -> Path:
        """Its TensorBoard logs."""
        return self.path / "tensorboard"


def detections_of_set(valid: Path, name: str) -> Path:
    """Detections on a further evaluation set, beside those of the same weights on the validation set.

    Args:
        valid: from `AttemptFolder.detections`.
        name: of the set.
    """
    return valid.with_name(valid.name.replace("valid", f"set_{name}", 1))


@dataclass(frozen=True)
class RunFolder:
    """The folder that `--output-dir` names, with the paths of all its files.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The configuration that the run began with."""
        return self.path / "config.yaml"

    @property
    def strategy(self) -> Path:
        """The strategy of the run."""
        return self.path / "strategy.yaml"

    @property
    def journal(self) -> Path:
        """Every fact of the run, in order; all other files but checkpoints and detections can be made from it."""
        return self.path / "journal.sqlite"

    @property
    def has_journal(self) -> bool:
        """Whether there is a run in the folder."""
        return self.journal.is_file()

    @property
    def lock(self) -> Path:
        """Held by the process that works on the run."""
        return self.path / ".lock"

    @property
    def log(self) -> Path:
        """All that the commands said."""
        return self.path / "run.log"

    @property
    def status(self) -> Path:
        """Where the run stands, for other programs."""
        return self.path / "status.json"

    @property
    def live(self) -> Path:
        """The latest training step, for other processes; what counts stands in the journal."""
        return self.path / "live.json"

    @property
    def report(self) -> Path:
        """The report as JSON."""
        return self.path / "training_evaluation_detailed.json"

    @property
    def table(self) -> Path:
        """The epochs as a table."""
        return self.path / "metrics.csv"

    @property
    def page(self) -> Path:
        """The report as one HTML file."""
        return self.path / "report.html"

    @property
    def short_report(self) -> Path:
        """The report in a few lines of Markdown."""
        return self.path / "report.md"

    @property
    def report_error(self) -> Path:
        """The traceback of a report that could not be written."""
        return self.path / "report_error.txt"

    @property
    def history_before(self) -> Path:
        """Epochs that another tool recorded before the run, in the file that it wrote."""
        return self.path / "history_before.json"

    def measured(self, key: str) -> Path:
        """Figures of a checkpoint on another set; `key` names both."""
        return self.measurements / f"{key}.json"

    def measured_detections(self, key: str) -> Path:
        """What a checkpoint found on another set; `key` names both."""
        return self.measurements / f"{key}.npz"

    def measuring_job(self, key: str) -> Path:
        """What the process that measures is told; it goes once the figures are there."""
        return self.measurements / f"{key}_job.json"

    def measuring_log(self, key: str) -> Path:
        """What the process that measures printed; it goes once the figures are there."""
        return self.measurements / f"{key}.log"

    @property
    def measurements(self) -> Path:
        """The folder of `measured`."""
        return self.path / "sets"

    @property
    def checkpoint(self) -> Path:
        """From which an interrupted attempt goes on."""
        return self.path / "checkpoint.pth"

    @property
    def previous_checkpoint(self) -> Path:
        """The one before `checkpoint`."""
        return self.path / "checkpoint_previous.pth"

    @property
    def champion(self) -> Path:
        """The best checkpoint so far."""
        return self.path / "checkpoint_best.pth"

    @property
    def own_checkpoints(self) -> tuple[Path, ...]:
        """Checkpoints that the run writes again and again."""
        return self.checkpoint, self.previous_checkpoint, self.champion

    def to_build_on(self) -> str:
        """`, with --resume RUN/checkpoint_best.pth to build on what was reached`; empty where no champion is there."""
        return f", with --resume {self.champion} to build on what was reached" if self.champion.is_file() else ""

    def overwrites(self, file: Path) -> bool:
        """Whether a file lies where the run writes one of `own_checkpoints`."""
        return file.resolve() in [path.resolve() for path in self.own_checkpoints]

    def lightweight(self, epoch: int) -> Path:
        """Weights and metrics of one epoch."""
        return self.path / "checkpoints" / f"checkpoint_epoch_{epoch}_lightweight.pth"

    @property
    def phases(self) -> Path:
        """The folders of all phases."""
        return self.path / "phases"

    def phase(self, number: int, name: str) -> Path:
        """The folder of a phase: `phases/01_continue`."""
        return self.phases / f"{number:02d}_{name}"

    def start(self, number: int, name: str) -> Path:
        """A phase's own copy of the checkpoint that it was given."""
        return self.phase(number, name) / "start.pth"

    def starts(self) -> list[Path]:
        """The copies that lie there, of all phases."""
        return sorted(self.phases.glob("*/start.pth"))

    def attempt(self, number: int, name: str, attempt: int) -> AttemptFolder:
        """The folder of an attempt: `phases/01_continue/attempt_1`."""
        return AttemptFolder(self.phase(number, name) / f"attempt_{attempt}")


def epoch_of_lightweight(file: Path) -> int | None:
    """The epoch of a file that is named as `RunFolder.lightweight` names it; None for another name."""
    found = _LIGHTWEIGHT.fullmatch(file.name)
    return int(found[1]) if found else None


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run folder for this process; it is made where it is not there.

    Raises:
        RunFolderError: another process holds it, or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = RunFolder(folder).lock.open("a+")
    except OSError as error:
        raise RunFolderError(
            f"{folder}: can't be written ({error.strerror}). Give an --output-dir that can be."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunFolderError(
                f"{folder}: another smallsight process works on this run. Wait for it, or use another --output-dir."
            ) from error
        yield


def is_running(folder: Path) -> bool:
    """Whether a process works on the run: it holds the folder's lock."""
    try:
        with RunFolder(folder).lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
