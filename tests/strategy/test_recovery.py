"""The power may go off anywhere: the same call again ends where the undisturbed run ended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smallsight.config.load import Config
from smallsight.run.state import State
from smallsight.strategy.plan import Plan
from strategy.lab import Fuse, Killed, Lab, Script, Watcher, timeless

PLAN = Plan.model_validate(
    {
        "plateau": {"rule": "patience", "patience": 1},
        "phases": [
            {"name": "better", "epochs": 1, "set": {"training.multi_scale": True}},
            {"name": "flat", "epochs": 3},
            {"name": "too_large", "epochs": 2, "scale": {"training.resolution": 1.5}},
            {"name": "shaky", "epochs": 1, "set": {"training.weight_decay": 0.1}},
        ],
    }
)
SCRIPT: Script = {
    "baseline": [[0.5, 0.49]],
    "better": [[0.6]],
    "flat": [[0.6, 0.6, 0.6]],
    "too_large": [["out_of_memory"], [0.61, "out_of_memory"]],
    "shaky": [["crashed"], [0.6]],
}


def strategy(folder: Path, fuse: Fuse) -> tuple[Lab, Callable[[], State]]:
    lab = Lab(folder, SCRIPT, PLAN, fuse=fuse)
    return lab, lab.optimize


def evaluated_start(folder: Path, fuse: Fuse) -> tuple[Lab, Callable[[], State]]:
    given = folder.with_suffix(".given")
    given.write_text("given")
    plan = Plan.model_validate({"phases": [{"name": "better", "epochs": 1}]})
    lab = Lab(folder, {"baseline": [[0.5]], "better": [[0.6]]}, plan, fuse=fuse, resume=str(given), resumed_epoch=39)
    return lab, lab.optimize


def single_phases(folder: Path, fuse: Fuse) -> tuple[Lab, Callable[[], State]]:
    """Two calls of `train`, the second one from what the first one left; each runs again until it has ended."""
    lab = Lab(folder, {"one": [[0.5, 0.6]], "two": [["out_of_memory"], [0.55]]}, Plan(), fuse=fuse)
    given = folder / "checkpoint_best.pth"

    def act() -> State:
        lab.train("one", Config.model_validate({"training": {"epochs": 2}}))
        return lab.train("two", Config.model_validate({"training": {"epochs": 3}}), str(given), 2)

    return lab, act


def old_checkpoint(folder: Path, fuse: Fuse) -> tuple[Lab, Callable[[], State]]:
    """The mission's own calls: `--resume models/checkpoint.pth --output-dir models`, then a larger resolution."""
    script: Script = {"start": [[0.5], [0.58]], "one": [[0.55, "crashed"], [0.55, 0.6]], "two": [[0.55, 0.65]]}
    lab = Lab(folder, script, Plan(), fuse=fuse)
    folder.mkdir()
    given = folder / "checkpoint.pth"
    given.write_text('{"run_id": "", "phase": "", "attempt": 0}')

    def act() -> State:
        lab.train("one", Config.model_validate({"training": {"epochs": 41}}), str(given), 39)
        larger = Config.model_validate({"training": {"epochs": 43, "resolution": 736}})
        return lab.train("two", larger, str(folder / "checkpoints" / "checkpoint_epoch_41_lightweight.pth"), 41)

    return lab, act


RUNS = (strategy, evaluated_start, single_phases, old_checkpoint)


def interrupted(act: Callable[[], State], lab: Lab, cuts: tuple[int, ...]) -> State:
    for cut in cuts:
        lab.fuse.at, lab.fuse.passed = cut, 0
        try:
            return act()
        except Killed:
            pass
    lab.fuse.at = 0
    return act()


def outcome(lab: Lab, state: State) -> Any:
    decided = lab.kinds().count("decided")
    return timeless(state), lab.champion_file, timeless(lab.published[-1]), decided, lab.checkpoints


def cuts_of(places: int) -> Iterator[tuple[int, ...]]:
    yield from ((place,) for place in range(1, places + 1))
    yield from itertools.product((7, 9, 14), repeat=2)


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_outcome_does_not_depend_on_interruptions(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "smallsight.strategy.recording.to_yaml", lambda content: ""
    )  # this and fsync take half the time
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    lab, act = run(tmp_path / "undisturbed", Fuse())
    expected, places = _rebased(outcome(lab, act()), lab.folder), lab.fuse.passed
    assert places > 20
    for number, cuts in enumerate(cuts_of(places)):
        lab, act = run(tmp_path / f"cut_{number}", Fuse())
        state = interrupted(act, lab, cuts)
        assert _rebased(outcome(lab, state), lab.folder) == expected, f"power cut at {cuts}"
        epochs = [record.epoch for record in state.records]
        assert epochs == sorted(set(epochs))


def _rebased(value: Any, folder: Path) -> str:
    return repr(value).replace(str(folder), "RUN")


def test_the_undisturbed_strategy(tmp_path: Path) -> None:
    """So that the test above compares something worth comparing."""
    lab, act = strategy(tmp_path / "run", Fuse())
    state = act()
    assert [(run.name, run.status, len(run.records), len(run.failures)) for run in state.runs] == [
        ("baseline", "completed", 2, 0),
        ("better", "completed", 1, 0),
        ("flat", "completed", 2, 0),
        ("too_large", "failed", 1, 3),
        ("shaky", "completed", 1, 1),
    ]
    assert all(len(run.attempts) == 1 for run in state.runs)
    assert list(state.runs[3].attempts[0].facts) == [
        ("ramp", {"steps": n, "reason": "number of setbacks"}) for n in range(3)
    ]
    assert [run.verdict and run.verdict.outcome for run in state.runs] == [
        None,
        "improved",
        "kept",
        None,
        "no_evidence",
    ]
    assert lab.champion_file == "flat 1 epoch 4" and state.finished


def test_an_early_end_stands_whatever_the_budget_says_after_a_restart(tmp_path: Path) -> None:
    """A phase that was told to end must not train on because its share of the time was reckoned anew."""
    config = Config.model_validate({"training": {"epochs": 9}})
    lab = Lab(tmp_path / "run", {"baseline": [[0.5] * 9]}, Plan(), config=config)
    lab.trainer.epoch_s = 100.0
    watcher, lab.watcher = lab.watcher, _KilledAtAnEarlyEnd()
    with pytest.raises(Killed):
        lab.optimize(90.0)
    lab.watcher = watcher
    state = lab.optimize(1e6)
    assert [record.epoch for record in state.records] == [1] and state.runs[0].closed


class _KilledAtAnEarlyEnd(Watcher):
    def note(self, text: str) -> None:
        if "ends after epoch" in text:
            raise Killed
