"""Messages from the process of an attempt to the one that started it: records, and their form as lines of JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from smallsight.records import EpochRecord, epoch_record_from_json, to_json


class NotAMessage(ValueError):
    """A line that holds no message of this version."""


@dataclass(frozen=True)
class Step:
    """A training step is done.

    Attributes:
        epoch, last_epoch: the one in training, and the last of the attempt.
        batch, batches: trained in this epoch, and all that it has.
        losses: means over the epoch so far, by part.
        learning_rate: of the step.
        memory_mb, memory_limit_mb: peak so far, and the limit; None where it is not known.
    """

    epoch: int
    last_epoch: int
    batch: int
    batches: int
    losses: Mapping[str, float]
    learning_rate: float
    memory_mb: float
    memory_limit_mb: float | None = None


@dataclass(frozen=True)
class Evaluating:
    """The evaluation of an epoch has begun."""

    epoch: int


@dataclass(frozen=True)
class Alive:
    """Sign of life during long work."""


@dataclass(frozen=True)
class EpochDone:
    """An epoch is done; one that was reported before may come again after a restart."""

    record: EpochRecord


@dataclass(frozen=True)
class AsksToGoOn:
    """The question, after a reported epoch, whether to train another one. The process waits for the answer."""


@dataclass(frozen=True)
class Note:
    """A sentence that the user should read once."""

    text: str


@dataclass(frozen=True)
class Caution:
    """A warning about the start, see `training.doubt`."""

    text: str


@dataclass(frozen=True)
class Probe:
    """Memory that a phase is expected to take, after its largest steps were tried.

    Attributes:
        batch_size: of the steps.
        peak_mb: peak of the CUDA allocator; on a CPU, of the process's resident size, with an estimate for the
            evaluation of an epoch and for decoded frames that are kept.
        limit_mb: memory that may be taken.
    """

    batch_size: int
    peak_mb: float
    limit_mb: float


@dataclass(frozen=True)
class Memory:
    """The largest steps were tried, and fit into memory."""

    probe: Probe


@dataclass(frozen=True)
class CheckpointSizes:
    """How large the attempt's checkpoints will be, bytes of one file of each kind."""

    lightweight_bytes: int
    full_bytes: int


@dataclass(frozen=True)
class AveragingHorizon:
    """The horizon of the weights' average: optimizer steps of an epoch and of the horizon, and the decay per step."""

    steps_per_epoch: int
    horizon_steps: float
    decay: float


@dataclass(frozen=True)
class Ramp:
    """Number of optimizer steps with a lower rate at the start of an attempt, and the reason in words."""

    steps: int
    reason: str


@dataclass(frozen=True)
class Pace:
    """Approximate time of the two parts of an epoch, in seconds, for one process that does all of it.

    Attributes:
        training_s: the training batches, and the search for false positives on training frames.
        evaluation_s: the validation set with both kinds of weights, and the further sets with one.
        device: the device that it was measured on.
    """

    training_s: float
    evaluation_s: float
    device: str


@dataclass(frozen=True)
class Stopped:
    """A stop was requested; the state is saved. The last message."""

    message: str


@dataclass(frozen=True)
class Done:
    """The attempt is complete. The last message."""


@dataclass(frozen=True)
class Failed:
    """An exception ended the attempt. The last message.

    Attributes:
        exception: name of its type.
        message: its text.
        file: the file that an operating-system error names; None where it names none.
    """

    exception: str = ""
    message: str = ""
    file: str | None = None


@dataclass(frozen=True)
class Stopping:
    """A stop request was passed on to the attempt's processes. It comes from the process that started them."""


SignOfLife: TypeAlias = Step | Evaluating | Alive | Stopping
"""Progress; not stored."""
Fact: TypeAlias = Note | Caution | Memory | CheckpointSizes | AveragingHorizon | Ramp | Pace
"""To be kept in the journal."""
End: TypeAlias = Stopped | Done | Failed
Message: TypeAlias = SignOfLife | EpochDone | AsksToGoOn | Fact | End

KINDS: Mapping[str, type[Any]] = {
    "step": Step,
    "evaluating": Evaluating,
    "alive": Alive,
    "stopping": Stopping,
    "epoch": EpochDone,
    "go_on?": AsksToGoOn,
    "note": Note,
    "warning": Caution,
    "memory": Memory,
    "disk": CheckpointSizes,
    "averaging": AveragingHorizon,
    "ramp": Ramp,
    "pace": Pace,
    "stopped": Stopped,
    "done": Done,
    "failed": Failed,
}
"""By the name in a line of JSON, and in the journal for facts. Journals hold these names, so they must not change."""
_WORDS = {kind: word for word, kind in KINDS.items()}


def encode(message: Message) -> str:
    """A message as one line of JSON, without the line break."""
    return json.dumps(content_of(message))


def decode(line: str | bytes) -> Message:
    """The inverse of `encode`.

    Raises:
        NotAMessage: the line holds no message of this version.
    """
    try:
        content = json.loads(line)
    except ValueError as error:
        raise NotAMessage(f"{line!r:.200} is no line of JSON ({error})") from error
    return message_from(content)


def content_of(message: Message) -> dict[str, Any]:
    """A message as plain JSON values; `event` names its kind, NaN becomes null."""
    return {"event": _WORDS[type(message)], **to_json(message)}


def kind_and_content(fact: Fact) -> tuple[str, dict[str, Any]]:
    """A fact as the journal stores it: its kind, and its content."""
    content = content_of(fact)
    return content.pop("event"), content


def message_from(content: Any) -> Message:
    """The inverse of `content_of`.

    Raises:
        NotAMessage: the kind is unknown, a part is missing or unknown, or a part has the wrong type.
    """
    try:
        parts = dict(content)
        kind = KINDS[parts.pop("event")]
    except (TypeError, ValueError, KeyError) as error:
        raise NotAMessage(f"{content!r:.200} is no message") from error
    return _record(kind, parts)  # type: ignore[no-any-return]


def _record(kind: type[Any], parts: Any) -> Any:
    if not isinstance(parts, Mapping):
        raise NotAMessage(f"{kind.__name__}: got {parts!r:.200}, expected its parts by name")
    fields = {each.name: each for each in dataclasses.fields(kind)}
    needed = {name for name, each in fields.items() if each.default is dataclasses.MISSING}
    if not needed <= parts.keys() <= fields.keys():
        raise NotAMessage(f"{kind.__name__}: got the parts {sorted(map(str, parts))}, expected {sorted(fields)}")
    try:
        return kind(**{name: _READERS[str(fields[name].type)](value) for name, value in parts.items()})
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise NotAMessage(f"{kind.__name__}: {error}") from error


def _of_type(*types: type[Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) not in types:
            raise TypeError(f"got {value!r:.200}, expected {' or '.join(each.__name__ for each in types)}")
        return value

    return read


def _real(value: Any) -> float:
    """A number; NaN where it is not known."""
    return math.nan if value is None else float(_of_type(int, float)(value))


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "int": _of_type(int),
    "str": _of_type(str),
    "str | None": _of_type(str, type(None)),
    "float": _real,
    "float | None": lambda value: None if value is None else _real(value),
    "Mapping[str, float]": lambda value: {str(name): _real(each) for name, each in value.items()},
    "EpochRecord": epoch_record_from_json,
    "Probe": lambda value: _record(Probe, value),
}
"""Readers of a message's parts, by type."""
