"""What supervision costs: the same training in a plain PyTorch loop and under supervision, in turns.

Both train the same detector on the same batches. The plain loop is `plain_loop.py`. The supervised one is an attempt as
`smallsight train` runs it, with progress, checkpoints, journal and report.

Steps are compared in one process, the runner's work included, by processor time: other work on the machine strikes a
clock on the wall at random. The order changes with every epoch, and the first one is a warm-up. What happens once per
epoch is timed on the wall, so that waiting for the disk counts.

A start is timed, on the wall and by processor time, from the call to the end of the first step, in a fresh process: an
attempt, with all that it loads, reads and tries before it trains, and the plain loop as a script. What counts is the
difference, because a plain loop has to be started for each phase, too.

    OMP_NUM_THREADS=1 python benchmarks/overhead.py [--images 100] [--rounds 6] [--epoch-s 60] [--epochs 10]
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from plain_loop import PlainLoop

from smallsight.attempts.child import ChildTrainer
from smallsight.attempts.conversation import OnProgress
from smallsight.attempts.jobs import OneAfterAnother, OnFact
from smallsight.attempts.messages import Alive, EpochDone, Evaluating, Memory, Message, SignOfLife, Step
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.commands import train as verbs
from smallsight.commands import workers
from smallsight.records import EpochRecord
from smallsight.synth.dataset import SynthOptions, write_dataset
from smallsight.training import epoch_end, fit
from smallsight.training.state import TrainingState

SETTINGS: Mapping[str, Any] = {
    "model": {"detector": "nano"},
    "training": {"batch_size": 16, "learning_rate": 0.002, "resolution": 640, "threads": 1},
    "sampling": {"crop_px": 192, "crops_per_image": 4, "hard_negative_share": 0.0},
    "evaluation": {"replicates": 100},
}


class Times:
    """Seconds by what they went into, one entry each time."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[float]] = {}

    @contextmanager
    def of(self, name: str, clock: Callable[[], float] = time.perf_counter) -> Iterator[None]:
        began = clock()
        yield
        self.by_name.setdefault(name, []).append(clock() - began)

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, with its time noted."""

        def instead(*arguments: Any, **options: Any) -> Any:
            with self.of(name):
                return call(*arguments, **options)

        return instead


class InThisProcess:
    """Carries out attempts as `ChildTrainer` does, without a process of their own."""

    times: Times

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress, self._go_on = on_progress, True

    def __call__(self, spec: AttemptSpec, on_epoch: Callable[[EpochRecord], bool], on_fact: OnFact) -> AttemptResult:
        self._spec, self._on_epoch, self._on_fact = spec, on_epoch, on_fact
        spec.save()
        fit.run_attempt(spec, self)
        return AttemptResult()

    def tell(self, message: Message) -> None:
        if isinstance(message, EpochDone):
            with self.times.of("journal and report"):
                self._go_on = self._on_epoch(message.record)
        elif isinstance(message, Memory):
            self._on_fact(message)
        elif isinstance(message, Step | Evaluating | Alive):
            self._on_progress(self._spec, message)

    def ask_to_go_on(self) -> bool:
        return self._go_on

    def stop_requested(self) -> bool:
        return False

    def listen_to_signals(self) -> None:
        return


def interleave(times: Times) -> None:
    """Let every supervised epoch be preceded or followed by a plain one on the same batches, and note both times."""
    InThisProcess.times = times
    begin, finish = fit._Conduct.on_train_epoch_start, fit.finish_epoch
    loop: list[PlainLoop] = []
    began = 0.0

    def plain(state: TrainingState) -> None:
        with times.of("plain steps", time.process_time):
            loop[0].train(state.supply.loader(state.epoch, {}, 1.0, with_mosaic=False, skip_batches=0))

    def epoch_start(self: Any, trainer: Any, module: Any) -> None:
        nonlocal began
        if not loop:
            loop.append(PlainLoop(copy.deepcopy(self.state.detector), self.state.config.training))
        if self.state.epoch % 2:
            plain(self.state)
        began = time.process_time()
        begin(self, trainer, module)

    def finish_epoch(state: TrainingState, began_s: float) -> bool:
        times.by_name.setdefault("supervised steps", []).append(time.process_time() - began)
        if not state.epoch % 2:
            plain(state)
        return finish(state, began_s)

    fit._Conduct.on_train_epoch_start = epoch_start  # type: ignore[method-assign]
    fit.finish_epoch = finish_epoch
    TrainingState.save = times.timed("checkpoint", TrainingState.save)  # type: ignore[method-assign]
    epoch_end.save_checkpoint = times.timed("lightweight file", epoch_end.save_checkpoint)
    epoch_end.copy_atomically = times.timed("copy of the best", epoch_end.copy_atomically)


def train(folder: Path, images: int, rounds: int) -> AttemptSpec:
    """`rounds` epochs and a warm-up; the attempt that they were."""
    write_dataset(folder / "data", SynthOptions(images, (640, 360), 1))
    paths = {"coco_train_path": str(folder / "data" / "train"), "coco_val_path": str(folder / "data" / "valid")}
    training = {**SETTINGS["training"], "epochs": rounds + 1}
    (folder / "run.yaml").write_text(yaml.safe_dump({**SETTINGS, "training": training, "dataset": paths}))
    workers.LocalTrainer = lambda on_progress, _: OneAfterAnother(InThisProcess(on_progress))  # type: ignore[assignment, misc]
    verbs.train_one_phase(folder / "run.yaml", [], folder / "run", None, quiet=True)
    (attempt,) = (folder / "run").glob("phases/*/attempt_1/attempt.json")
    return AttemptSpec.load(attempt)


class FirstStep(Exception):
    """An attempt has made its first step."""


def supervised_start(spec: AttemptSpec) -> None:
    """Begin an attempt as the runner does, and end it after its first step."""

    def on_progress(_: AttemptSpec, message: SignOfLife) -> None:
        if isinstance(message, Step):
            raise FirstStep

    try:
        ChildTrainer(on_progress)(spec, lambda record: True, lambda fact: None)
    except FirstStep:
        return
    raise RuntimeError(f"the attempt made no step; see {spec.log}")


def plain_start(spec: AttemptSpec) -> None:
    """Begin the plain loop, which ends by itself after its first step."""
    script = Path(__file__).with_name("plain_loop.py")
    subprocess.run([sys.executable, str(script), str(Path(spec.folder) / "attempt.json")], check=True)


def start_in_turns(times: Times, spec: AttemptSpec, folder: Path, rounds: int) -> None:
    """`rounds` starts of each kind and one that warms the disk up."""
    for number in range(rounds + 1):
        own = replace(spec, run_folder=str(folder / f"{number}"), folder=str(folder / f"{number}" / "attempt"))
        own.save()
        kinds = [("supervised start", supervised_start), ("plain start", plain_start)]
        for name, start in kinds[:: -1 if number % 2 else 1]:
            with times.of(name), times.of(f"{name}, processor", processor_s):
                start(own)


def processor_s() -> float:
    """Of this process and of those that it has waited for."""
    return sum(os.times()[:4])


Draws = npt.NDArray[np.float64]


def means(supervised: Sequence[float], plain: Sequence[float]) -> tuple[Draws, Draws]:
    """Mean times of all rounds, then of 10,000 draws of rounds with replacement."""
    pairs = np.array([supervised, plain])
    count = pairs.shape[1]
    drawn = pairs[:, np.random.default_rng(0).integers(0, count, size=(10_000, count))].mean(axis=2)
    first, second = np.concatenate([pairs.mean(axis=1, keepdims=True), drawn], axis=1)
    return first, second


def shown(values: Draws, unit: str) -> str:
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:+.2f} {unit} [{low:+.2f}, {high:+.2f}]"


def start_difference(times: Times, name: str) -> tuple[Draws, str]:
    """How much longer a supervised start takes, s, and that in words."""
    supervised, plain = means(*(times.by_name[f"{kind} {name}"][1:] for kind in ("supervised", "plain")))
    difference = supervised - plain
    return difference, f"{name}: {supervised[0]:.1f} s, plain {plain[0]:.1f} s, difference {shown(difference, 's')}"


def report(times: Times, rounds: int, epoch_s: float, epochs: int) -> str:
    """The table, for a phase of `epochs` epochs that train `epoch_s` each."""
    supervised, plain = means(*(times.by_name[f"{kind} steps"][1:] for kind in ("supervised", "plain")))
    steps = 100 * (supervised / plain - 1)
    lines = [f"steps, processor time: {shown(steps, '%')}, {rounds} rounds of {plain[0]:.1f} s"]
    per_epoch = 0.0
    for name in ("checkpoint", "lightweight file", "copy of the best", "journal and report"):
        seconds = sum(times.by_name.get(name, [0.0])) / (rounds + 1)
        per_epoch += seconds
        lines.append(f"per epoch, {name}: {1e3 * seconds:.0f} ms")
    start, on_the_wall = start_difference(times, "start")
    lines += [on_the_wall, start_difference(times, "start, processor")[1]]
    rest = 100 * (per_epoch / epoch_s + start / (epochs * epoch_s))
    lines.append(f"{epochs} epochs of {epoch_s:g} s, beside the steps: {shown(rest, '%')}")
    lines.append(f"together: {shown(steps + rest, '%')}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--epoch-s", type=float, default=60.0)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    times = Times()
    interleave(times)
    with tempfile.TemporaryDirectory() as folder:
        spec = train(Path(folder), options.images, options.rounds)
        start_in_turns(times, spec, Path(folder) / "starts", options.rounds)
    print(report(times, options.rounds, options.epoch_s, options.epochs))


if __name__ == "__main__":
    main()
