"""What supervision costs: the same epochs in a plain PyTorch loop and under supervision, in turns, in one process.

Both train the same detector on the same batches. The plain loop is: batch, loss, backward, clipped gradients, AdamW,
moving average. The supervised one is an attempt as `smallsight train` runs it, with progress, checkpoints, journal and
report; its runner is in this process too, so that all that it does counts. The order changes with every epoch, and the
first one is a warm-up.

Steps are compared by processor time, because other work on the machine strikes a clock on the wall at random. What
happens once per epoch or once per attempt is timed on the wall, so that waiting for the disk counts.

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from smallsight import session
from smallsight.attempts import AttemptResult, AttemptSpec
from smallsight.data.synthetic import SynthOptions, write_dataset
from smallsight.records import EpochRecord, epoch_record_from_json
from smallsight.training import epoch_end, fit
from smallsight.training.module import BETAS
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

    def __init__(self, on_progress: Callable[[Mapping[str, Any]], None]) -> None:
        self._on_progress, self._go_on = on_progress, True

    def __call__(
        self, spec: AttemptSpec, on_epoch: Callable[[EpochRecord], bool], on_fact: Callable[..., None]
    ) -> AttemptResult:
        self._on_epoch, self._on_fact = on_epoch, on_fact
        spec.save()
        fit.run_attempt(spec, self)
        return AttemptResult()

    def tell(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "epoch":
            with self.times.of("journal and report"):
                self._go_on = self._on_epoch(epoch_record_from_json(event["record"]))
        elif event["event"] == "memory":
            self._on_fact("memory", {"probe": event["probe"]})
        else:
            self._on_progress(event)

    def ask_to_go_on(self) -> bool:
        return self._go_on

    def stop_requested(self) -> bool:
        return False

    def listen_to_signals(self) -> None:
        return


class PlainLoop:
    """The same training without anything around it."""

    def __init__(self, state: TrainingState) -> None:
        self.state, training = state, state.config.training
        self.detector = copy.deepcopy(state.detector)
        self.average = copy.deepcopy(self.detector).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.detector.parameter_groups(training.learning_rate, training.weight_decay), betas=BETAS
        )

    def epoch(self) -> None:
        state = self.state
        loader = state.supply.loader(state.epoch, {}, 1.0, with_mosaic=False, skip_batches=0)
        self.detector.train()
        for images, targets in loader:
            loss = self.detector.losses(images, targets).total
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.detector.parameters(), state.config.training.gradient_clip)
            self.optimizer.step()
            with torch.no_grad():
                pairs = zip(self.average.state_dict().values(), self.detector.state_dict().values(), strict=True)
                for averaged, trained in pairs:
                    if averaged.dtype.is_floating_point:
                        averaged.lerp_(trained, 0.002)
                    else:
                        averaged.copy_(trained)


def interleave(times: Times) -> None:
    """Let every supervised epoch be preceded or followed by a plain one on the same batches, and note both times."""
    InThisProcess.times = times
    begin, finish = fit._Conduct.on_train_epoch_start, fit.finish_epoch
    loop: list[PlainLoop] = []
    began = 0.0

    def plain(state: TrainingState) -> None:
        with times.of("plain steps", time.process_time):
            loop[0].epoch()

    def epoch_start(self: Any, trainer: Any, module: Any) -> None:
        nonlocal began
        if not loop:
            loop.append(PlainLoop(self.state))
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
    fit._probe = times.timed("probe", fit._probe)
    TrainingState.save = times.timed("checkpoint", TrainingState.save)  # type: ignore[method-assign]
    epoch_end.save_checkpoint = times.timed("lightweight file", epoch_end.save_checkpoint)
    epoch_end.copy_atomically = times.timed("copy of the best", epoch_end.copy_atomically)


def train(folder: Path, images: int, rounds: int) -> None:
    """`rounds` epochs and a warm-up."""
    write_dataset(folder / "data", SynthOptions(images, (640, 360), 1))
    paths = {"coco_train_path": str(folder / "data" / "train"), "coco_val_path": str(folder / "data" / "valid")}
    training = {**SETTINGS["training"], "epochs": rounds + 1}
    (folder / "run.yaml").write_text(yaml.safe_dump({**SETTINGS, "training": training, "dataset": paths}))
    session.ChildTrainer = InThisProcess  # type: ignore[assignment, misc]
    session.train_one_phase(folder / "run.yaml", [], folder / "run", None, quiet=True)


def start_of_a_worker() -> float:
    """Processor seconds until a new process could train."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import smallsight.training.fit"], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def ratio(supervised: list[float], plain: list[float]) -> tuple[float, float, float]:
    """Supervised to plain time of all rounds, with a 95 % bootstrap interval over the rounds."""
    pairs = np.array([supervised, plain])
    drawn = pairs[:, np.random.default_rng(0).integers(0, len(plain), size=(10_000, len(plain)))].sum(axis=2)
    low, high = np.quantile(drawn[0] / drawn[1], (0.025, 0.975))
    return float(pairs[0].sum() / pairs[1].sum()), float(low), float(high)


def report(times: Times, rounds: int, epoch_s: float, epochs: int) -> str:
    """The table, for a phase of `epochs` epochs that train `epoch_s` each."""
    plain, supervised = (times.by_name[name][1:] for name in ("plain steps", "supervised steps"))
    middle, low, high = (100 * (value - 1) for value in ratio(supervised, plain))
    lines = [f"steps, processor time: {middle:+.2f} % [{low:+.2f}, {high:+.2f}], {rounds} rounds of {plain[0]:.1f} s"]
    per_epoch = 0.0
    for name in ("checkpoint", "lightweight file", "copy of the best", "journal and report"):
        seconds = sum(times.by_name.get(name, [0.0])) / (rounds + 1)
        per_epoch += seconds
        lines.append(f"per epoch, {name}: {1e3 * seconds:.0f} ms")
    start, probe = start_of_a_worker(), times.by_name["probe"][0]
    lines.append(f"per attempt: start of the process {start:.1f} s (processor time), probe {probe:.1f} s")
    rest = 100 * (per_epoch / epoch_s + (start + probe) / (epochs * epoch_s))
    shown = f"{middle + rest:+.2f} % [{low + rest:+.2f}, {high + rest:+.2f}]"
    return "\n".join([*lines, f"together, for {epochs} epochs of {epoch_s:g} s: {shown}"])


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
        train(Path(folder), options.images, options.rounds)
    print(report(times, options.rounds, options.epoch_s, options.epochs))


if __name__ == "__main__":
    main()
