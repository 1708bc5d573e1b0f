"""Which checkpoints stay: as many as asked for, and whatever a run, a person or a damaged file may need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from smallsight.attempts.spec import FORMAT
from smallsight.config.load import Config
from smallsight.records import Decision, EpochRecord, Estimate
from smallsight.run.state import Attempt, Champion, PhaseRun, State
from smallsight.strategy.keeping import keep_of, superfluous
from smallsight.strategy.plan import Plan
from strategy.lab import Fuse, Killed, Lab, Script, write_checkpoint

Figures = Sequence[float]


def phase(number: int, name: str, first: int, figures: Figures, **more: Any) -> PhaseRun:
    """A closed phase with these figures, one an epoch."""
    records = tuple(
        EpochRecord(first + index, name, 1, {"map_small": Estimate(value)}) for index, value in enumerate(figures)
    )
    last = first + len(figures) - 1
    attempt = Attempt(1, {}, first, last, records, "completed")
    decision = Decision("run", "", name, more.pop("settings", {}), len(figures))
    return PhaseRun(name, number, decision, (attempt,), more.pop("closed", True), **more)


def state_of(*runs: PhaseRun, champion: int | None = 1, **more: Any) -> State:
    """A run whose champion is the best epoch of the phase of that number."""
    found = None
    if champion is not None:
        run = runs[champion - 1]
        best = max(run.records, key=lambda record: record.value("map_small"))
        found = Champion(run.name, run.number, 1, best, {})
    return State(config={"checkpoint": {"keep": 3}}, plan=Plan().to_dict(), runs=runs, champion=found, **more)


def epochs(paths: Sequence[Path]) -> list[int]:
    return [int(path.name.split("_")[2]) for path in paths if path.parent.name == "checkpoints"]


def attempts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths if path.name == "best.pth"]


A = phase(1, "a", 1, [0.1, 0.5, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3])  # epochs 1 to 8, the best is 2
B = phase(2, "b", 9, [0.1, 0.2, 0.6, 0.2, 0.3, 0.1])  # 9 to 14, the best is 11


@pytest.mark.parametrize(
    ("state", "keep", "gone"),
    [
        (state_of(A), 3, [1, 3, 4, 5]),
        (state_of(A), 1, [1, 3, 4, 5, 6, 7]),
        (state_of(A), 100, []),
        (state_of(A), "all", []),
        (state_of(A, B), 3, [1, 3, 4, 5, 6, 7, 9, 10]),  # 2 and 11 are the best, 8 and 14 the last
        (state_of(A, phase(2, "b", 9, [0.1], closed=False)), 3, [1, 3, 4, 5, 6]),  # the last three over all phases
        (state_of(A, phase(2, "b", 9, [], closed=False)), 3, [1, 3, 4, 5]),
        # Epochs 3 to 8 were done once more: what is the last or the best of either stays.
        (state_of(A, phase(2, "b", 3, [0.1, 0.1, 0.6, 0.1, 0.1])), 1, [1, 3, 4, 6]),
        (state_of(phase(1, "a", 1, [float("nan")] * 5)), 1, [2, 3, 4]),  # none is known to be the best: the first
    ],
)
def test_lightweight_files(state: State, keep: Any, gone: list[int]) -> None:
    assert epochs(superfluous(state, keep)) == gone


def test_the_best_states_of_phases_that_nothing_needs() -> None:
    assert attempts(superfluous(state_of(A, B, champion=1), 3)) == ["phases/02_b/attempt_1/best.pth"]
    assert attempts(superfluous(state_of(A, B, champion=2), 3)) == ["phases/01_a/attempt_1/best.pth"]
    assert attempts(superfluous(state_of(A, B), "all")) == []


def test_the_baselines_state_stays_for_the_exam() -> None:
    first = state_of(A).champion
    assert attempts(superfluous(state_of(A, B, champion=2, first=first), 3)) == []
    third = phase(3, "c", 15, [0.9])
    assert attempts(superfluous(state_of(A, B, third, champion=3, first=first), 3)) == [
        "phases/02_b/attempt_1/best.pth"
    ]


def test_a_phase_that_is_not_judged_keeps_its_best_state() -> None:
    still = phase(2, "b", 9, [0.1, 0.2], closed=False)
    assert attempts(superfluous(state_of(A, still, champion=1), 3)) == []
    assert attempts(superfluous(state_of(still, champion=None), 3)) == []


@pytest.mark.parametrize(
    "given",
    [
        "models/checkpoints/checkpoint_epoch_4_lightweight.pth",
        "/somewhere/models/checkpoints/checkpoint_epoch_4_lightweight.pth",
        "checkpoints/checkpoint_epoch_4_lightweight.pth",
        "checkpoint_epoch_4_lightweight.pth",
    ],
)
def test_what_a_phase_was_told_to_start_from_stays(given: str) -> None:
    """The same command again has to find it: an interrupted one, and one that only says that all is done."""
    by_hand = phase(2, "b", 5, [0.1] * 6, settings={"checkpoint.resume_from": given})
    assert 4 not in epochs(superfluous(state_of(A, by_hand), 1))
    assert 4 not in epochs(superfluous(state_of(A, resume=given), 1))
    assert epochs(superfluous(state_of(A, resume="other/checkpoint.pth"), 1)) == [1, 3, 4, 5, 6, 7]


def test_a_best_state_that_a_phase_starts_from_stays() -> None:
    given = "models/phases/01_a/attempt_1/best.pth"
    by_hand = phase(2, "b", 9, [0.9], settings={"checkpoint.resume_from": given})
    assert attempts(superfluous(state_of(A, by_hand, champion=2), 1)) == []


def test_a_run_that_began_before_files_could_go_keeps_them() -> None:
    config = Config.model_validate({"checkpoint": {"keep": 1}})
    assert keep_of(State(config={"checkpoint": {"keep": 3}}), config) == 1
    assert keep_of(State(config={"checkpoint": {"every_steps": None}}), config) == "all"


SCRIPT: Script = {
    "baseline": [[0.1, 0.5, 0.2, 0.3, 0.3]],
    "better": [[0.1, 0.2, 0.6, 0.2, 0.3]],
    "worse": [[0.1, 0.2, 0.1]],
}
PLAN = Plan.model_validate(
    {
        "target": {"stop_at": "never"},
        "plateau": {"rule": "patience", "patience": 9},
        "phases": [{"name": "better", "epochs": 5}, {"name": "worse", "epochs": 3}],
    }
)
LEFT = [
    *(f"checkpoints/checkpoint_epoch_{epoch}_lightweight.pth" for epoch in (10, 12, 13, 2, 5, 8)),
    "phases/01_baseline/attempt_1/best.pth",
    "phases/02_better/attempt_1/best.pth",
]


def lab_of(folder: Path, keep: int | str = 1, **options: Any) -> Lab:
    config = Config.model_validate({"training": {"epochs": 5}, "checkpoint": {"keep": keep}})
    return Lab(folder, SCRIPT, PLAN, config=config, **options)


def test_what_a_strategy_leaves(tmp_path: Path) -> None:
    lab = lab_of(tmp_path / "run")
    lab.optimize()
    assert lab.checkpoints == LEFT
    whole = lab_of(tmp_path / "all", "all")
    whole.optimize()
    assert len(whole.checkpoints) == 13 + 3


def test_a_power_cut_between_any_two_deletions_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def cuts_at(fuse: Fuse) -> Callable[..., None]:
        def cutting(path: Path, missing_ok: bool = False) -> None:
            fuse.pass_on()
            unlink(path, missing_ok=missing_ok)
            fuse.pass_on()

        return cutting

    fuse = Fuse()
    monkeypatch.setattr(Path, "unlink", cuts_at(fuse))
    lab_of(tmp_path / "run").optimize()
    places = fuse.passed
    assert places == 2 * (13 + 3 - len(LEFT))
    for place in range(1, places + 1):
        lab, fuse = lab_of(tmp_path / f"cut_{place}"), Fuse(place)
        monkeypatch.setattr(Path, "unlink", cuts_at(fuse))
        with pytest.raises(Killed):
            lab.optimize()
        state = lab.optimize()
        assert lab.checkpoints == LEFT and lab.champion_file == "better 1 epoch 8"
        assert state.champion is not None and state.champion.record.epoch == 8


@pytest.mark.parametrize("mark", ["another tool", f"{FORMAT} trained_in another run"])
def test_files_of_others_stay(tmp_path: Path, mark: str) -> None:
    """Under a name that the run used, and under names of epochs that it did not train."""
    lab = lab_of(tmp_path / "run")
    folder = lab.folder / "checkpoints"
    folder.mkdir(parents=True)
    write_checkpoint(folder / "checkpoint_epoch_38_lightweight.pth", "an earlier training", "another tool")
    watcher, lab.watcher = lab.watcher, _Replacing(folder / "checkpoint_epoch_1_lightweight.pth", mark)
    lab.optimize()
    lab.watcher = watcher
    names = {path.name for path in folder.iterdir()}
    assert {"checkpoint_epoch_38_lightweight.pth", "checkpoint_epoch_1_lightweight.pth"} <= names
    assert "checkpoint_epoch_3_lightweight.pth" not in names


class _Replacing:
    """After the first epoch, someone puts a file of another tool in the place of ours."""

    def __init__(self, path: Path, mark: str) -> None:
        self.path, self.mark = path, mark

    def decided(self, decision: Decision) -> None:
        return

    def epoch(self, record: EpochRecord, best: float) -> None:
        if record.epoch == 1:
            write_checkpoint(self.path, "theirs", self.mark)

    def note(self, text: str) -> None:
        return


def test_a_file_that_can_t_be_deleted_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    lab = lab_of(tmp_path / "run")
    lab.optimize()
    told = [line for line in lab.watcher.lines if "can't be deleted (Operation not permitted)" in line]
    assert told and str(lab.folder / "checkpoints") in told[0]
