"""A laboratory for strategies: a trainer that reads its figures from a table, and power cuts at any place."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smallsight.attempts.jobs import OneAfterAnother
from smallsight.attempts.messages import Ramp
from smallsight.attempts.spec import FORMAT, AttemptResult, AttemptSpec
from smallsight.commands.disk import Disk
from smallsight.config.load import Config
from smallsight.files import sha256_of
from smallsight.records import Decision, EpochRecord, Estimate, Verdict, epoch_record_from_json, to_json
from smallsight.run.folder import hold
from smallsight.run.given import Call, GivenFile, Origin, TrainedIn
from smallsight.run.journal import Journal
from smallsight.run.state import State
from smallsight.strategy.by_hand import ByHand
from smallsight.strategy.means import Means
from smallsight.strategy.plan import Plan
from smallsight.strategy.runner import Runner

Script = Mapping[str, Sequence[Sequence[float | str]]]
"""By phase, for each try: the target metric after each epoch, or a failure; the last try is repeated."""

EVIDENCE = 0.005
AS_IT_CAME = 0.4
"""What a checkpoint that is only measured reaches, where the script does not say."""


class Killed(BaseException):
    """The power went off."""


@dataclass
class Fuse:
    """Cuts the power at the `at`-th place that is passed; 0 for never."""

    at: int = 0
    passed: int = 0

    def pass_on(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Killed


class FragileJournal(Journal):
    """A journal before and after whose events the power may go off."""

    fuse = Fuse()

    def append(self, kind: str, **content: Any) -> Any:
        self.fuse.pass_on()
        event = super().append(kind, **content)
        self.fuse.pass_on()
        return event


@dataclass
class FakeTrainer:
    """Carries out attempts with the files and the order of `training.fit`, without training."""

    script: Script
    fuse: Fuse
    on_seconds: Callable[[float], None]
    epoch_s: float = 10.0
    specs: list[AttemptSpec] = field(default_factory=list)
    started_from: list[str] = field(default_factory=list)
    guard: Mapping[str, float] = field(default_factory=dict)
    seconds_of: Mapping[str, float] = field(default_factory=dict)

    def __call__(
        self, spec: AttemptSpec, on_epoch: Callable[[EpochRecord], bool], on_fact: Callable[..., None]
    ) -> AttemptResult:
        self.fuse.pass_on()
        self.specs.append(spec)
        self.started_from.append(read_checkpoint(Path(spec.start_path)) if spec.start == "warm" else "")
        on_fact(Ramp(spec.setbacks, "number of setbacks"))
        records = self._restored(spec)
        answers = [on_epoch(record) for record in records]
        if answers and not answers[-1]:
            return AttemptResult()
        attempts = self.script.get(spec.phase, [[AS_IT_CAME]])
        figures = attempts[min(spec.attempt + spec.setbacks, len(attempts)) - 1]
        epochs = range(spec.first_epoch, spec.last_epoch + 1) or [spec.first_epoch - 1]
        for epoch, figure in zip(epochs, figures, strict=False):
            if any(record.epoch == epoch for record in records):
                continue
            if isinstance(figure, str):
                return AttemptResult(figure, f"{figure} in epoch {epoch}")
            records.append(self._trained(spec, epoch, figure))
            self._save(spec, records)
            self.fuse.pass_on()
            go_on = on_epoch(records[-1])
            self.fuse.pass_on()
            if not go_on:
                break
        return AttemptResult()

    def _restored(self, spec: AttemptSpec) -> list[EpochRecord]:
        if not spec.checkpoint.is_file():
            return []
        saved = json.loads(spec.checkpoint.read_text())
        if (saved["run_id"], saved["phase"], saved["attempt"]) != (spec.run_id, spec.phase, spec.attempt):
            return []
        return [epoch_record_from_json(item) for item in saved["records"]]

    def _trained(self, spec: AttemptSpec, epoch: int, figure: float) -> EpochRecord:
        seconds = self.seconds_of.get(spec.phase, self.epoch_s)
        self.on_seconds(seconds)
        metrics = {"map_small": Estimate(figure), "map_50_95": Estimate(self.guard.get(spec.phase, 0.7))}
        resolution = spec.config["training"]["resolution"]
        return EpochRecord(epoch, spec.phase, spec.attempt, metrics, seconds=seconds, resolution=resolution)

    def _save(self, spec: AttemptSpec, records: list[EpochRecord]) -> None:
        last = records[-1]
        figures = [record.value("map_small") for record in records]
        detections = spec.detections(last.epoch)
        detections.parent.mkdir(parents=True, exist_ok=True)
        detections.write_text(str(figures[-1]))
        if figures[-1] > max(figures[:-1], default=-1.0):
            spec.best.write_text(f"{spec.phase} {spec.attempt} epoch {last.epoch}")
        state = {"run_id": spec.run_id, "phase": spec.phase, "attempt": spec.attempt}
        state["records"] = [to_json(record) for record in records]
        if last.epoch >= spec.first_epoch:  # what was only evaluated leaves the checkpoint alone
            spec.checkpoint.write_text(json.dumps(state))
            spec.lightweight(last.epoch).parent.mkdir(exist_ok=True)
            write_checkpoint(spec.lightweight(last.epoch), f"{spec.phase} {spec.attempt} epoch {last.epoch}")


def write_checkpoint(path: Path, content: str, mark: str = FORMAT) -> None:
    """A file that says who wrote it, as `torch.save` would make it; the same content gives the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), f"{mark} {content}")


def read_checkpoint(path: Path) -> str:
    """What is in a file of `write_checkpoint`, without its mark, or in a text."""
    if not zipfile.is_zipfile(path):
        return path.read_text()
    with zipfile.ZipFile(path) as archive:
        return archive.read("archive/data.pkl").decode().removeprefix(f"{FORMAT} ")


@dataclass
class Watcher:
    """Remembers what it was told."""

    lines: list[str] = field(default_factory=list)

    def decided(self, decision: Decision) -> None:
        self.lines.append(decision.reason)

    def epoch(self, record: EpochRecord, best: float) -> None:
        self.lines.append(f"epoch {record.epoch}")

    def note(self, text: str) -> None:
        self.lines.append(text)


def _figure(files: Sequence[Path]) -> float:
    """Of the chosen epoch."""
    return float(files[0].read_text())


@dataclass
class Lab:
    """One run folder, and everything that acts on it."""

    folder: Path
    script: Script
    plan: Plan
    config: Config = field(default_factory=lambda: Config.model_validate({"training": {"epochs": 2}}))
    fuse: Fuse = field(default_factory=Fuse)
    on_seconds: Callable[[float], None] = lambda seconds: None
    resume: str = ""
    resumed_epoch: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    call: Call | None = None
    watcher: Watcher = field(default_factory=Watcher)
    published: list[State] = field(default_factory=list)
    compared: list[tuple[list[str], list[str]]] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.trainer = FakeTrainer(self.script, self.fuse, self.on_seconds)

    def optimize(self, budget_s: float | None = None) -> State:
        """As `commands.train.optimize`."""
        return self._with_run(
            lambda run: (
                run.begin(self.config, self.plan, "optimize", self._origin(self.resume, self.resumed_epoch)),
                run.optimize(self.config, self.plan, budget_s),
            )[-1]
        )

    def train(self, name: str, config: Config, resume: str = "", resumed_epoch: int = 0) -> State:
        """As `commands.train.train_one_phase`."""
        return self._with_run(
            lambda run: (
                run.begin(config, self.plan, "train", Origin(), resume),
                run.train_as_configured(name, config, self.plan, self._origin(resume, resumed_epoch), self.call),
            )[-1],
            ByHand,
        )

    def _origin(self, resume: str, resumed_epoch: int) -> Origin:
        return Origin(self._given(resume, resumed_epoch) if resume else None, self.annotations)

    def _given(self, resume: str, epoch: int) -> GivenFile:
        """What `commands.inputs.look_at` would find: files of the lab are texts, and ours name their attempt."""
        path = Path(resume)
        if not path.is_file():
            return GivenFile(resume, epoch=epoch)
        text, wrote = read_checkpoint(path), None
        if weights := re.fullmatch(r"(\w+) (\d+) epoch (\d+)", text):
            with Journal(self.folder / "journal.sqlite", read_only=True) as journal:
                run_id = journal.events()[0].content["run_id"]
            wrote, epoch = TrainedIn(run_id, weights[1], int(weights[2])), int(weights[3])
        elif text.startswith("{") and (found := json.loads(text)).get("records"):
            wrote = TrainedIn(found["run_id"], found["phase"], found["attempt"])
            epoch = max(record["epoch"] for record in found["records"])
        return GivenFile(resume, sha256_of(path), epoch, trained_in=wrote)

    def _with_run(self, act: Callable[[Any], State], kind: type[Runner] = Runner) -> State:
        with hold(self.folder), FragileJournal(self.folder / "journal.sqlite") as journal:
            for pragma in ("synchronous=off", "journal_mode=memory"):  # speed; no test here cuts the power for real
                journal._connection.execute(f"pragma {pragma}")
            journal.fuse = self.fuse
            return act(
                kind(self.folder, journal, Means(OneAfterAnother(self.trainer), self, self.watcher, self.publish))
            )

    def phase(self, candidates: Sequence[Path], champions: Sequence[Path], rise_confidence: float) -> Verdict:
        """By the figures themselves."""
        self.fuse.pass_on()
        candidate, champion = candidates[0], champions[0]
        assert all(path.is_file() for path in (*candidates, *champions))
        assert float(candidate.read_text()) == max(float(path.read_text()) for path in candidates)
        assert candidate != champion, "a phase is judged against itself"
        self.compared.append(
            tuple([str(path.relative_to(self.folder / "phases")) for path in each] for each in (candidates, champions))
        )
        self.confidences.append(rise_confidence)
        gain = _figure(candidates) - _figure(champions)
        outcome = "improved" if gain > EVIDENCE else "regressed" if gain < -EVIDENCE else "no_evidence"
        return Verdict(outcome, Estimate(gain), Estimate(0.0), f"{outcome} by {gain:.3f}")

    def arms(
        self,
        arms: Mapping[int, Sequence[Path]],
        controls: Mapping[int, Sequence[Path]],
        champions: Sequence[Path],
        rise_confidence: float,
    ) -> dict[int, Verdict]:
        """By the figures themselves: better than the champion and than the control."""
        return {n: self._arm(files, controls.get(n), champions, rise_confidence) for n, files in arms.items()}

    def _arm(
        self, files: Sequence[Path], control: Sequence[Path] | None, champions: Sequence[Path], confidence: float
    ) -> Verdict:
        verdict = self.phase(files, champions, confidence)
        if control is None:
            return verdict
        assert len(control) == len(files), "the control is compared over as many epochs"
        more = _figure(files) - _figure(control)
        outcome = "no_evidence" if verdict.accepted and more <= EVIDENCE else verdict.outcome
        return replace(verdict, outcome=outcome, over_control=Estimate(more), reason=f"{verdict.reason}, {more:+.3f}")

    def behind(self, arms: Mapping[int, Sequence[Path]]) -> dict[int, str]:
        """Those that are more than ten times the evidence below the best one."""
        self.fuse.pass_on()
        best = max(_figure(files) for files in arms.values())
        return {n: "behind the leading arm" for n, files in arms.items() if best - _figure(files) > 10 * EVIDENCE}

    def publish(self, state: State) -> None:
        """Keep the state, and delete what nothing needs."""
        self.fuse.pass_on()
        self.published.append(state)
        Disk(self.folder, self.config, None, lambda: state, self.watcher.note).prune(state)
        self.fuse.pass_on()

    @property
    def checkpoints(self) -> list[str]:
        """The lightweight files and the attempts' best ones that are there."""
        found = [*self.folder.rglob("*_lightweight.pth"), *self.folder.rglob("best.pth")]
        return sorted(str(path.relative_to(self.folder)) for path in found)

    @property
    def champion_file(self) -> str:
        """What is in `checkpoint_best.pth`."""
        return (self.folder / "checkpoint_best.pth").read_text()

    def kinds(self) -> list[str]:
        """Kinds of the events in the journal."""
        with Journal(self.folder / "journal.sqlite", read_only=True) as journal:
            return [event.kind for event in journal.events()]


def timeless(state: State) -> Any:
    """The state without its times and its id, to compare an interrupted run with an undisturbed one."""
    return _without(to_json(state), ("elapsed_s", "began_s", "seconds", "run_id"))


def _without(value: Any, keys: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return [_without(item, keys) for item in value] if isinstance(value, list) else value
