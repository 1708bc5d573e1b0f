"""Runs with faults, beside the same run without any: the end has to be the same."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from faults.kinds import KINDS, Fault, FaultPlan
from faults.process import start
from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.errors import EXIT_DONE, EXIT_USAGE
from smallsight.run.fold import read_state
from smallsight.run.state import State
from training.frames import tiny_settings, write_data
from waiting import HANGS_S

STRATEGY = {
    "target": {"stop_at": "never"},
    "baseline": {"epochs": 3},
    "phases": [{"name": "multi_scale", "epochs": 3, "set": {"training.multi_scale": True}}],
}
EPOCHS, BATCHES = 6, 6
STARTS = 25
"""More than any plan asks for."""


class Lost(AssertionError):
    """A run did not come through a fault as it should."""


@dataclass(frozen=True)
class Ground:
    """What all runs share: data, configuration, the undisturbed run, and whether processes are forked from this one."""

    folder: Path
    warm: bool

    @staticmethod
    def lay(folder: Path, *, warm: bool, hang_timeout_s: float = 90.0) -> Ground:
        """Write data and configuration, and let the undisturbed run end.

        Args:
            hang_timeout_s: as in a configuration; a plan with a worker that hangs takes at least so long.
        """
        folder.mkdir(exist_ok=True)
        settings = tiny_settings(write_data(folder / "data"), num_workers=1, hang_timeout_s=hang_timeout_s)
        settings["checkpoint"] = {"every_steps": 2}
        (folder / "run.yaml").write_text(yaml.safe_dump(settings))
        (folder / "strategy.yaml").write_text(yaml.safe_dump(STRATEGY))
        ground = Ground(folder, warm)
        ground.run_through(FaultPlan(_made(folder / "undisturbed_faults"), ()), ground.undisturbed)
        return ground

    @property
    def undisturbed(self) -> Path:
        """Run folder without faults."""
        return self.folder / "undisturbed"

    def start(self, plan: FaultPlan, run: Path) -> Any:
        """Start the command on a run folder."""
        options = ("--config", str(self.folder / "run.yaml"), "--strategy", str(self.folder / "strategy.yaml"))
        command = ("optimize", *options, "--output-dir", str(run), "--json")
        return start(plan, command, plan.folder / "output.txt", warm=self.warm)

    def run_through(self, plan: FaultPlan, run: Path) -> None:
        """Start the command until it is done; after each end, see that it is one that a fault explains.

        Raises:
            Lost: it is not.
        """
        known: set[int] = set()
        for _ in range(STARTS):
            process = self.start(plan, run)
            self._second_runner(plan, run, process, known)
            code = process.wait(timeout=HANGS_S)
            new = [fault for fault in plan.happened() if fault.number not in known]
            known |= {fault.number for fault in new}
            if code == EXIT_DONE:
                return
            if code not in [KINDS[fault.kind].end for fault in new]:
                raise Lost(f"exit code {code} after {[fault.kind for fault in new]}; see {plan.folder / 'output.txt'}")
            self._between(plan, run, [fault.kind for fault in new])
        raise Lost(f"not done after {STARTS} starts; see {plan.folder / 'output.txt'}")

    def _second_runner(self, plan: FaultPlan, run: Path, process: Any, known: set[int]) -> None:
        """Where the plan says so, start the command again while it runs; it has to be refused."""
        wanted = [fault for fault in plan.faults if fault.kind == "second runner" and fault.number not in known]
        while wanted and process.poll() is None:
            if any(fault in plan.happened() for fault in wanted):
                self._expect_refusal(plan, run, "another smallsight process works on this run")
                return
            time.sleep(0.05)

    def _between(self, plan: FaultPlan, run: Path, kinds: Sequence[str]) -> None:
        """Between two starts: damage files, or make a start fail."""
        if "checkpoint cut short" in kinds:
            _spoil(run / "checkpoint.pth", cut=True)
        if "checkpoint with a flipped bit" in kinds:
            _spoil(run / "checkpoint.pth", cut=False)
        if "champion damaged" in kinds:
            _spoil(run / "checkpoint_best.pth", cut=False)
        if "data changed" in kinds:
            with _changed(self.folder / "data" / "valid" / "_annotations.coco.json"):
                self._expect_refusal(plan, run, "is not the file that the run in")
        if "journal locked" in kinds:
            with contextlib.closing(sqlite3.connect(run / "journal.sqlite", isolation_level=None)) as other:
                other.execute("begin exclusive")
                self._expect_refusal(plan, run, "database is locked")

    def _expect_refusal(self, plan: FaultPlan, run: Path, message: str) -> None:
        refused = FaultPlan(_made(plan.folder / f"refused_{time.monotonic_ns()}"), ())
        code = self.start(refused, run).wait(timeout=HANGS_S)
        said = (refused.folder / "output.txt").read_text()
        if code != EXIT_USAGE or message not in said or "Traceback" in said:
            raise Lost(f"expected exit code {EXIT_USAGE} and {message!r}; got {code} and {said!r}")

    def check(self, plan: FaultPlan, run: Path) -> None:
        """Compare a run that has come through its faults with the undisturbed one.

        Raises:
            Lost: an epoch is lost or doubled, a figure or a weight differs, or the journal is not sound.
        """
        exact = all(KINDS[fault.kind].exact for fault in plan.happened())
        state, expected = read_state(run), read_state(self.undisturbed)
        _same("epochs", *(_epochs(folder) for folder in (run, self.undisturbed)))
        _same("epochs in the journal", [r.epoch for r in state.records], list(range(1, EPOCHS + 1)))
        _same("phases", *([(r.name, r.status) for r in s.runs] for s in (state, expected)))
        _sound_journal(run / "journal.sqlite")
        left_over = list(run.rglob("*.tmp"))
        _same("temporary files of a finished run", left_over, [])
        if exact:
            undisturbed = FaultPlan(self.folder / "undisturbed_faults", ())
            _same("losses of the steps", _losses(plan), _losses(undisturbed))
            _same("figures", _figures(state), _figures(expected))
            for name in ("checkpoint.pth", "checkpoint_best.pth"):
                _same_weights(run / name, self.undisturbed / name)


def plan_of(folder: Path, seed: int, kinds: Sequence[str]) -> FaultPlan:
    """Faults of these kinds, at most as many as there are epochs: each in an epoch of its own, at a random moment."""
    draw = random.Random(seed)
    epochs = draw.sample(range(1, EPOCHS + 1), len(kinds))
    faults = []
    for number, (kind, epoch) in enumerate(zip(kinds, epochs, strict=True)):
        if kind == "champion damaged":
            epoch = draw.randint(EPOCHS // 2 + 1, EPOCHS)  # there is one from the second phase on
        elif kind.startswith("checkpoint "):
            epoch = max(2, epoch)  # so that there is one before it
        batch = draw.randrange(BATCHES)
        faults.append(Fault(number, kind, epoch, batch, draw.uniform(0, 1.5), draw.randint(3, 9)))
    return FaultPlan(_made(folder), tuple(faults))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _spoil(path: Path, *, cut: bool) -> None:
    if not path.is_file():
        return  # the power went between two renames, and it is gone already
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data[: len(data) // 3]) if cut else bytes(data))


@contextlib.contextmanager
def _changed(path: Path) -> Iterator[None]:
    whole = path.read_bytes()
    content = json.loads(whole)
    content["annotations"][0]["bbox"][0] += 1
    path.write_text(json.dumps(content))
    try:
        yield
    finally:
        path.write_bytes(whole)


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Lost(f"{what}: got {found}, expected {expected}")


def _epochs(run: Path) -> list[str]:
    return [line.split(",")[0] for line in (run / "metrics.csv").read_text().splitlines()[1:]]


def _figures(state: State) -> str:
    clock = {"seconds": 0.0, "images_per_second": 0.0, "peak_memory_mb": 0.0}
    champion = state.champion and (state.champion.phase, state.champion.record.epoch)
    records = [dataclasses.replace(record, **clock) for record in state.records]  # type: ignore[arg-type]
    return repr((records, [run.verdict for run in state.runs], champion, state.finished))


def _losses(plan: FaultPlan) -> dict[str, str]:
    """The loss of each (epoch, batch), as a float's exact digits; one that was done again must have been the same."""
    losses: dict[str, str] = {}
    for line in (plan.folder / "steps.txt").read_text().splitlines():
        place, loss = line.rsplit(" ", 1)
        if losses.setdefault(place, loss) != loss:
            raise Lost(f"the loss of epoch and batch {place}: first {losses[place]}, then {loss}")
    return losses


def _same_weights(path: Path, expected: Path) -> None:
    found, wanted = load_checkpoint(path), load_checkpoint(expected)
    for part in ("model", "ema_model"):
        different = [name for name in wanted[part] if not torch.equal(found[part][name], wanted[part][name])]
        _same(f"{path.name}, weights that differ", different, [])


def _sound_journal(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        _same("the journal's pages", connection.execute("pragma integrity_check").fetchall(), [("ok",)])
        rows = connection.execute("select number, elapsed_s, kind from events order by number").fetchall()
    elapsed = [row[1] for row in rows]
    _same("the journal's clock", elapsed, sorted(elapsed))
    _same("events of half a transaction", [kind for _, _, kind in rows if kind == "half"], [])
    if elapsed[-1] > 24 * 3600:
        raise Lost(f"the journal's clock: {elapsed[-1]:.0f} s, after minutes")
