"""The specification that an attempt's processes get, and the result of an attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from smallsight.files import write_text_atomically
from smallsight.run.folder import AttemptFolder, RunFolder

Start = Literal["scratch", "warm"]
FORMAT = "smallsight 1"
"""Format entry of the checkpoints that smallsight writes."""


@dataclass(frozen=True)
class AttemptSpec:
    """One attempt of one phase.

    Attributes:
        run_id: tells this run's files from another run's in the same folder.
        run_folder: the run.
        folder: this attempt's own folder in it.
        phase, attempt: name and number; a `checkpoint.pth` of the same run, phase and attempt is continued exactly.
        config: the whole configuration as resolved for this phase.
        first_epoch, last_epoch: numbers, both included. Where last < first nothing is trained, and the start is
            evaluated as epoch `first_epoch - 1`.
        start: from scratch, or warm from `start_path`.
        target_metric: decides which epoch of the attempt is its best.
        setbacks: how often it failed and was continued with other settings.
        rehearses: train nothing; try the largest steps, and time ordinary ones.
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
        path = AttemptFolder(Path(self.folder)).spec
        write_text_atomically(path, json.dumps(asdict(self), indent=1))
        return path

    @staticmethod
    def load(path: Path) -> AttemptSpec:
        """The inverse of `save`."""
        return AttemptSpec(**json.loads(path.read_text()))

    @property
    def log(self) -> Path:
        """What the child process printed."""
        return AttemptFolder(Path(self.folder)).log

    @property
    def state_folder(self) -> Path:
        """The folder of the files that an attempt rewrites again and again.

        Attempts in sequence share those in the run folder: `--resume RUN/checkpoint.pth` continues the latest one, and
        the disk holds one set of them. An attempt beside others has its own, so that no other one overwrites them.
        """
        return Path(self.folder if self.beside_others else self.run_folder)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint from which an interrupted attempt continues."""
        return RunFolder(self.state_folder).checkpoint

    @property
    def live(self) -> Path:
        """The file with the step that the attempt trains now."""
        return RunFolder(self.state_folder).live

    @property
    def best(self) -> Path:
        """The state after the best epoch of this attempt."""
        return AttemptFolder(Path(self.folder)).best

    def lightweight(self, epoch: int) -> Path:
        """Weights and metrics of one epoch."""
        return RunFolder(self.state_folder).lightweight(epoch)

    def detections(self, epoch: int, *, other: bool = False) -> Path:
        """Detections on the validation set after an epoch, by the judged weights or by the other ones."""
        return AttemptFolder(Path(self.folder)).detections(epoch, other=other)


@dataclass(frozen=True)
class MeasureSpec:
    """A checkpoint to evaluate on a labelled set.

    Attributes:
        checkpoint: path of the file.
        data: folder with images and annotations.
        result: path of the JSON file for the figures.
        max_dets, centre_hit_px, device: as in a configuration's `evaluation` and `training`.
        detections: path of a file for the detections; empty for none.
        class_names: in the order of the labels in that file.
    """

    checkpoint: str
    data: str
    result: str
    max_dets: int
    centre_hit_px: float
    device: str
    detections: str = ""
    class_names: Sequence[str] = ()


def load_spec(path: Path) -> AttemptSpec | MeasureSpec:
    """The specification in a file."""
    content = json.loads(path.read_text())
    return MeasureSpec(**content) if "result" in content else AttemptSpec(**content)


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt ended: `failure` is empty where it ended well, else a kind of `attempts.failures`."""

    failure: str = ""
    message: str = ""
