"""States of a folder with phases by hand, as they would be folded from a journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from smallsight.config.load import Config
from smallsight.records import Decision, EpochRecord, Estimate, Outcome, Verdict
from smallsight.run.given import GivenFile, Place, TrainedIn
from smallsight.run.state import Attempt, PhaseRun, State
from smallsight.strategy.lineage import START
from smallsight.strategy.plan import Plan
from smallsight.strategy.same_run import phase_settings
from smallsight.strategy.treatment import flatten

RUN_ID = "this run"
OLD = GivenFile("models/checkpoint.pth", "a" * 64, 39)


def settings_of(resume: str = "", **changed: Any) -> dict[str, Any]:
    """The settings of a phase: those of the embedded detector by default, with dotted keys changed (`__` for a dot)."""
    config = Config.model_validate({"model": {"detector": "nano"}})
    return {**phase_settings(config, resume), **{key.replace("__", "."): value for key, value in changed.items()}}


def record(epoch: int, phase: str, value: float = 0.5, resolution: int = 640) -> EpochRecord:
    metrics = {"map_small": Estimate(value), "map_50_95": Estimate(0.6)}
    return EpochRecord(epoch, phase, 1, metrics, resolution=resolution)


def trained(name: str, first: int, last: int, given: GivenFile | None = None, **changed: Any) -> PhaseRun:
    """A phase by hand that trained to its end."""
    settings = settings_of(given.path if given else "", **changed)
    records = tuple(record(e, name, resolution=settings["training.resolution"]) for e in range(first, last + 1))
    attempt = Attempt(1, settings, first, last, records, "completed")
    decision = Decision("run", f"{name}: epochs {first} to {last}.", name, settings, last - first + 1)
    return PhaseRun(name, 1, decision, (attempt,), closed=True, given=given)


def measured(given: GivenFile, epoch: int, **changed: Any) -> PhaseRun:
    """A start that was measured."""
    settings = settings_of(given.path, **changed)
    records = (record(epoch, START, resolution=settings["training.resolution"]),)
    attempt = Attempt(1, settings, epoch + 1, epoch, records, "completed")
    return PhaseRun(START, 1, Decision("run", "Measure it.", START, settings), (attempt,), closed=True, given=given)


def failed(run: PhaseRun, failure: str, *, epochs: int = 0) -> PhaseRun:
    """The phase, had it failed after so many epochs."""
    (attempt,) = run.attempts
    ended = replace(
        attempt, status="failed", failure=failure, message="it went wrong", records=attempt.records[:epochs]
    )
    return replace(run, attempts=(ended,))


def verdict(outcome: Outcome, value: float) -> Verdict:
    return Verdict(outcome, Estimate(value), Estimate(0.0), f"map_small changed by {value:+.3f}")


def own(path: str, phase: str, epoch: int) -> GivenFile:
    """A file that the first attempt at a phase of this run wrote."""
    return GivenFile(path, "b" * 64, epoch, 640, TrainedIn(RUN_ID, phase, 1))


def state_of(*runs: PhaseRun, **more: Any) -> State:
    numbered = tuple(replace(run, number=number) for number, run in enumerate(runs, start=1))
    first = settings_of()
    config = Config.model_validate({"model": {"detector": "nano"}}).to_dict()
    assert set(first) - set(flatten(config)) <= {"checkpoint.resume_from"}
    return State(config=config, plan=Plan().to_dict(), run_id=RUN_ID, kind="train", runs=numbered, **more)


def from_epoch(run: PhaseRun, number: int, epoch: int) -> PhaseRun:
    """The phase, started from an epoch of the phase of that number."""
    return replace(run, start=Place(number, 1, epoch))
