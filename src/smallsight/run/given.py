"""What a user gives to a phase by hand: the checkpoint that it starts from, and the command. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainedIn:
    """The attempt of ours that wrote a checkpoint."""

    run_id: str
    phase: str
    attempt: int


@dataclass(frozen=True)
class GivenFile:
    """A checkpoint to start from.

    Attributes:
        path: as the user gave it.
        sha256: of its content; empty where nobody looked.
        epoch: the last one that it was trained for; 0 where it does not say.
        resolution: px, that it was trained at; 0 where it does not say.
        trained_in: who wrote it; None where that was not a run of ours.
        in_mid_epoch: whether it holds more than its epoch: the next one was begun.
    """

    path: str
    sha256: str = ""
    epoch: int = 0
    resolution: int = 0
    trained_in: TrainedIn | None = None
    in_mid_epoch: bool = False


@dataclass(frozen=True)
class Origin:
    """What a run, or a phase by hand, starts from.

    Attributes:
        given: the checkpoint that the user gave; None for none.
        annotations: SHA-256 of the annotation files, by split (`train`, `valid`).
    """

    given: GivenFile | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def resume(self) -> str:
        """Path of the given checkpoint; empty for none."""
        return self.given.path if self.given else ""

    @property
    def resumed_epoch(self) -> int:
        """The epoch that it comes from."""
        return self.given.epoch if self.given else 0


@dataclass(frozen=True)
class Place:
    """One epoch of a run: the number of its phase among those that were begun, the attempt, the epoch."""

    phase_number: int
    attempt: int
    epoch: int


@dataclass(frozen=True)
class Call:
    """The command that began a phase, so that others like it can be named.

    Attributes:
        program: `smallsight train`, or what stands for it, as words.
        config: path of the configuration file.
        output_dir: the run folder.
        overrides: `key=value` in the order given.
    """

    program: tuple[str, ...]
    config: str
    output_dir: str
    overrides: tuple[str, ...] = ()


def given_from_json(value: Mapping[str, Any] | None) -> GivenFile | None:
    """The inverse of `to_json` for a GivenFile or None."""
    if value is None:
        return None
    trained_in = TrainedIn(**value["trained_in"]) if value["trained_in"] else None
    return GivenFile(**{**value, "trained_in": trained_in})


def place_from_json(value: Mapping[str, Any] | None) -> Place | None:
    """The inverse of `to_json` for a Place or None."""
    return None if value is None else Place(**value)


def call_from_json(value: Mapping[str, Any] | None) -> Call | None:
    """The inverse of `to_json` for a Call or None."""
    if value is None:
        return None
    return Call(tuple(value["program"]), value["config"], value["output_dir"], tuple(value["overrides"]))
