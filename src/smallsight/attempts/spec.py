"""What an attempt is told, and where its files lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from smallsight.files import write_text_atomically

Start = Literal["scratch", "warm"]
CHECKPOINT = "checkpoint.pth"
"""What an interrupted attempt goes on from."""
LIVE = "live.json"
"""The latest training step, for other processes; what counts stands in the journal."""
LOG = "worker.log"
BEST = "best.pth"
"""In an attempt's folder: what its process printed, and the state after its best epoch."""
LIGHTWEIGHT = r"checkpoint_epoch_(\d+)_lightweight\.pth"
"""Names of the files that hold the weights of one epoch."""
FORMAT = "smallsight 1"
"""What a checkpoint says that smallsight wrote."""


def lightweight_file(run_folder: Path, epoch: int) -> Path:
    """Weights and metrics of one epoch."""
    return run_folder / "checkpoints" / f"checkpoint_epoch_{epoch}_lightweight.pth"


def detections_file(attempt_folder: Path, epoch: int, *, other: bool = False) -> Path:
    """What was found on the validation set after one epoch, by the judged weights or by the other ones."""
    return attempt_folder / "detections" / f"valid_epoch_{epoch:03d}{'_other' if other else ''}.npz"


def detections_of_set(valid: Path, name: str) -> Path:
    """What the weights of a file of detections on the validation set found on a further evaluation set."""
    return valid.with_name(valid.name.replace("valid", f"set_{name}", 1))


@dataclass(frozen=True)
class AttemptSpec:
    """One attempt of one phase.

    Attributes:
        run_id: tells this run's files from another run's that lie in the same place.
        run_folder: the run.
        folder: this attempt's own folder in it.
        phase, attempt: which one; a `checkpoint.pth` of the same run, phase and attempt is continued exactly.
        config: the whole configuration as resolved for this phase.
        first_epoch, last_epoch: numbers, both included. Where last < first nothing is trained, and the start is
            evaluated as epoch `first_epoch - 1`.
        start: from scratch, or warm from `start_path`.
        target_metric: decides which epoch of the attempt is its best.
        setbacks: how often it failed and was continued with other settings.
        rehearses: whether nothing is trained; its hardest steps are tried, and usual ones are timed.
        beside_others: whether another attempt of the run may be open at the same time. See `state_folder`.
    """

    run_id: str
    run_folder: str
    folder: str
    phase: str
    attempt: int
    config: Mapping[str, Any]
    first_epoch: int
    last_epoch: int
    start: Start
    start_path: str = ""
    target_metric: str = "map_small"
    setbacks: int = 0
    rehearses: bool = False
    beside_others: bool = False

    def save(self) -> Path:
        """Write the specification into the attempt's folder."""
        path = Path(self.folder) / "attempt.json"
        write_text_atomically(path, json.dumps(asdict(self), indent=1))
        return path

    @staticmethod
    def load(path: Path) -> AttemptSpec:
        """The inverse of `save`."""
        return AttemptSpec(**json.loads(path.read_text()))

    @property
    def log(self) -> Path:
        """What the child process printed."""
        return Path(self.folder) / LOG

    @property
    def state_folder(self) -> Path:
        """Where the files lie that an attempt writes again and again.

        Attempts that follow each other share those in the run folder: `--resume RUN/checkpoint.pth` goes on from the
        latest one, and the disk holds one of them. An attempt beside others has its own, so that none overwrites them.
        """
        return Path(self.folder if self.beside_others else self.run_folder)

    @property
    def checkpoint(self) -> Path:
        """From which an interrupted attempt goes on."""
        return self.state_folder / CHECKPOINT

    @property
    def live(self) -> Path:
        """The step that the attempt trains now."""
        return self.state_folder / LIVE

    @property
    def best(self) -> Path:
        """The state after the best epoch of this attempt."""
        return Path(self.folder) / BEST

    def lightweight(self, epoch: int) -> Path:
        """See `lightweight_file`."""
        return lightweight_file(self.state_folder, epoch)

    def detections(self, epoch: int, *, other: bool = False) -> Path:
        """See `detections_file`."""
        return detections_file(Path(self.folder), epoch, other=other)


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt ended: `failure` is empty where it ended well, else a kind of `training.failures`."""

    failure: str = ""
    message: str = ""
