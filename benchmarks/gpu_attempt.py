"""One attempt of our own engine in this process, with what it told and how its time was spent."""

from __future__ import annotations

import contextlib
import gc
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from gpu_plan import Job

from smallsight.attempts.messages import EpochDone, Evaluating, Memory, Message
from smallsight.attempts.spec import AttemptSpec
from smallsight.config.load import build_config
from smallsight.records import EpochRecord
from smallsight.training import fit
from smallsight.training.state import TrainingState

T = TypeVar("T")


@dataclass
class Epoch:
    """How the training of one epoch went, s; by batch the `waits` for it, its transfer included, and the `steps`."""

    began: float
    ended: float = 0.0
    waits: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From before the first batch was loaded to the end of the last step."""
        return self.ended - self.began


class Stopwatch(pl.Callback):
    """Times every step; the device is waited for at the end of an epoch only."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.finite = True

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._last = time.monotonic()
        self.epochs.append(Epoch(self._last))

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        now = time.monotonic()
        self.epochs[-1].waits.append(now - self._last)
        self._last = now

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.is_last_batch and module.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.monotonic()
        self.epochs[-1].steps.append(now - self._last)
        self._last = self.epochs[-1].ended = now

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.finite = all(bool(torch.isfinite(weight).all()) for weight in module.parameters())


class Listener:
    """A channel that keeps all messages, with the time, and lets the attempt go on."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, Message]] = []

    def tell(self, message: Message) -> None:
        self.messages.append((time.monotonic(), message))
        if isinstance(message, Memory) and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()  # else the peak of the training is at least that of the probe

    def of(self, kind: type[T]) -> list[tuple[float, T]]:
        """The messages of this kind."""
        return [(at, message) for at, message in self.messages if isinstance(message, kind)]

    def ask_to_go_on(self) -> bool:
        return True

    def stop_requested(self) -> bool:
        return False

    def listen_to_signals(self) -> None:
        return


@dataclass(frozen=True)
class Watched:
    """An attempt that is over.

    Attributes:
        samples: of an epoch.
        began, ended: of the attempt, on the monotonic clock, s.
        epochs: how their training went.
        judging_s: evaluation and files, by epoch.
        records: as in a journal.
        probe: what the probe expected.
        peak_mb: highest allocated on the device after the probe; 0 without CUDA.
        card_mb: highest in use on the card, of all processes, with contexts; 0 without CUDA.
        busy: share of the time in training at which the card did something, by NVML; None where it is not known.
        finite: whether all weights are numbers at the end.
    """

    samples: int
    began: float
    ended: float
    epochs: Sequence[Epoch]
    judging_s: Sequence[float]
    records: Sequence[EpochRecord]
    probe: Mapping[str, float]
    peak_mb: float
    card_mb: float
    busy: float | None
    finite: bool

    @property
    def rates(self) -> list[float]:
        """Images per second of every epoch but the first; of that one where it is alone."""
        return [self.samples / epoch.seconds for epoch in self.epochs[1:] or self.epochs]

    @property
    def waiting(self) -> float:
        """Share of the training time spent waiting for batches, without the first epoch."""
        counted = self.epochs[1:] or self.epochs
        return sum(sum(epoch.waits) for epoch in counted) / sum(epoch.seconds for epoch in counted)

    @property
    def step_s(self) -> float:
        """Median step, without the first epoch."""
        return statistics.median(step for epoch in self.epochs[1:] or self.epochs for step in epoch.steps)

    @property
    def start_s(self) -> float:
        """From the call to the first epoch: data read, detector built, the hardest step tried. Imports not included."""
        return self.epochs[0].began - self.began

    @property
    def outside(self) -> float:
        """Share of the attempt's time outside training epochs, imports not included."""
        return 1 - sum(epoch.seconds for epoch in self.epochs) / (self.ended - self.began)


class Gauge:
    """Looks at the card twenty times a second, from a thread."""

    EVERY_S = 0.05

    def __init__(self) -> None:
        self.busy: list[tuple[float, float]] = []
        self.card_mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Gauge:
        if torch.cuda.is_available():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look(self) -> None:
        knows = True
        while not self._over.wait(self.EVERY_S):
            free, total = torch.cuda.mem_get_info()
            self.card_mb = max(self.card_mb, (total - free) / 1e6)
            if knows:
                try:
                    self.busy.append((time.monotonic(), torch.cuda.utilization() / 100))
                except Exception as error:  # no nvidia-ml-py, or a driver that does not tell: many kinds
                    print(f"  no utilisation of the card: {error}", flush=True)
                    knows = False

    def busy_within(self, epochs: Sequence[Epoch]) -> float | None:
        """Mean share in the training of these epochs."""
        own = [share for at, share in self.busy if any(epoch.began <= at <= epoch.ended for epoch in epochs)]
        return statistics.mean(own) if own else None


def spec_of(content: Mapping[str, Any], folder: Path, epochs: int) -> AttemptSpec:
    """An attempt with the settings of a file, from random weights, in a folder that is made."""
    attempt = folder / "phases" / "01_gpu" / "attempt_1"
    attempt.mkdir(parents=True)
    config = build_config(content, "benchmark").to_dict()
    spec = AttemptSpec("benchmark", str(folder), str(attempt), "gpu", 1, config, 1, epochs, "scratch")
    spec.save()
    return spec


@contextlib.contextmanager
def in_precision(job: Job) -> Iterator[None]:
    """float16 is what a card without bfloat16 trains in: as if this one had none."""
    before = torch.cuda.is_bf16_supported
    if job.precision == "fp16":
        torch.cuda.is_bf16_supported = lambda including_emulation=True: False
    try:
        yield
    finally:
        torch.cuda.is_bf16_supported = before


def watch(job: Job, content: Mapping[str, Any], folder: Path) -> Watched:
    """Train as `content` says.

    Raises:
        SmallsightError, MemoryError, RuntimeError: the attempt failed.
    """
    channel, clock, usual = Listener(), Stopwatch(), fit._trainer

    def with_clock(state: TrainingState) -> pl.Trainer:
        trainer = usual(state)
        trainer.callbacks.append(clock)
        samples.append(state.supply.samples)
        return trainer

    samples: list[int] = []
    spec = spec_of(content, folder, job.epochs)
    fit._trainer = with_clock
    try:
        with in_precision(job), Gauge() as gauge:
            began = time.monotonic()
            fit.run_attempt(spec, channel)
            ended = time.monotonic()
            peak_mb = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0
    finally:
        fit._trainer = usual
        tidy()
    judged = zip(channel.of(Evaluating), channel.of(EpochDone), strict=True)
    return Watched(
        samples[0],
        began,
        ended,
        clock.epochs,
        [end - start for (start, _), (end, _) in judged],
        [done.record for _, done in channel.of(EpochDone)],
        asdict(channel.of(Memory)[0][1].probe),
        peak_mb,
        gauge.card_mb,
        gauge.busy_within(clock.epochs[1:] or clock.epochs),
        clock.finite,
    )


def probed(content: Mapping[str, Any], folder: Path) -> float:
    """Peak, MB, that the probe of an attempt finds, without training."""
    channel = Listener()
    state = TrainingState(spec_of(content, folder, 1), channel)
    fit._probe(state)
    del state
    tidy()
    return channel.of(Memory)[0][1].probe.peak_mb


def tidy() -> None:
    """Give back what an attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
