"""Whole strategies in milliseconds: what is kept, what is rolled back, what ends a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smallsight.attempts.spec import AttemptResult
from smallsight.config.load import Config
from smallsight.errors import DatasetError, Interrupted, RunFolderError, TrainingError
from smallsight.run.folder import hold
from smallsight.strategy.plan import Plan
from smallsight.strategy.same_run import refuse_other_annotations
from strategy.clock import Clock
from strategy.lab import Lab, Script, Watcher

PHASES: list[dict[str, Any]] = [
    {"name": "multi_scale", "epochs": 2, "set": {"training.multi_scale": True}},
    {"name": "higher", "epochs": 2, "when": {"completed": "multi_scale"}, "scale": {"training.resolution": 1.5}},
    {"name": "decay", "epochs": 2, "scale": {"training.learning_rate": 0.5}},
]


def plan_of(phases: list[dict[str, Any]] = PHASES, **sections: Any) -> Plan:
    return Plan.model_validate({"phases": phases, **sections})


def config_of(**training: Any) -> Config:
    return Config.model_validate({"training": {"epochs": 2, **training}})


@pytest.fixture
def lab(tmp_path: Path) -> Callable[..., Lab]:
    def make(script: Script, plan: Plan | None = None, **options: Any) -> Lab:
        return Lab(tmp_path / "run", script, plan or plan_of(), **options)

    return make


def test_what_helps_is_inherited_and_what_does_not_is_rolled_back(lab: Callable[..., Lab]) -> None:
    run = lab(
        {
            "baseline": [[0.40, 0.45]],
            "multi_scale": [[0.52, 0.50]],
            "higher": [[0.50, 0.521]],
            "decay": [[0.40, 0.41]],
        }
    )
    state = run.optimize()
    assert [phase.verdict and phase.verdict.outcome for phase in state.runs] == [
        None,
        "improved",
        "no_evidence",
        "regressed",
    ]
    assert [record.epoch for record in state.records] == list(range(1, 9))
    assert state.champion and (state.champion.phase, state.champion.record.epoch) == ("multi_scale", 3)
    assert state.baseline and state.baseline.epoch == 2
    assert run.champion_file == "multi_scale 1 epoch 3"
    assert (
        sum("Rolled back: the champion stays, and the next phase starts from it." in line for line in run.watcher.lines)
        == 2
    )
    assert run.trainer.started_from == ["", "baseline 1 epoch 2", "multi_scale 1 epoch 3", "multi_scale 1 epoch 3"]
    settings = [
        (s.config["training"]["multi_scale"], s.config["training"]["resolution"], s.config["training"]["learning_rate"])
        for s in run.trainer.specs
    ]
    assert settings == [(False, 640, 0.002), (True, 640, 0.002), (True, 960, 0.002), (True, 640, 0.001)]
    assert state.finished.startswith("No phase is left")
    assert run.published[-1] == state
    assert (run.folder / "config.yaml").is_file() and (run.folder / "strategy.yaml").is_file()


def test_a_phase_is_judged_with_all_its_epochs_against_all_that_the_champion_was_chosen_from(
    lab: Callable[..., Lab],
) -> None:
    run = lab(
        {"baseline": [[0.40, 0.45]], "multi_scale": [[0.52, 0.50]], "higher": [[0.5, 0.521]], "decay": [[0.4, 0.4]]}
    )
    run.optimize()
    named = [[[Path(file).stem for file in side] for side in pair] for pair in run.compared]
    epochs = [[[int(name.removeprefix("valid_epoch_")) for name in side] for side in pair] for pair in named]
    assert epochs == [[[3, 4], [2, 1]], [[6, 5], [3, 4]], [[7, 8], [3, 4]]]


def test_what_is_left_of_the_champions_other_epochs_is_enough(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [[0.40, 0.45]], "decay": [[0.4, 0.41]]}, plan_of([PHASES[2]]))
    watcher, run.watcher = run.watcher, _InterruptingAt(3)
    with pytest.raises(Interrupted):
        run.optimize()
    run.watcher = watcher
    (run.folder / "phases/01_baseline/attempt_1/detections/valid_epoch_001.npz").unlink()
    run.optimize()
    assert [Path(file).stem for file in run.compared[0][1]] == ["valid_epoch_002"]


def test_the_run_stops_where_the_target_is_reached(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [[0.4, 0.5]], "multi_scale": [[0.6, 0.66]]})
    assert run.optimize().finished == (
        "Target reached: map_small 0.660 >= 0.65 (minimum level). "
        "To go on, add strategy.stop_at=success to the same command."
    )
    assert len(run.trainer.specs) == 2


def test_a_given_checkpoint_is_evaluated_and_its_epochs_count(lab: Callable[..., Lab], tmp_path: Path) -> None:
    given = tmp_path / "given.pth"
    given.write_text("given")
    run = lab(
        {"baseline": [[0.5]], "multi_scale": [[0.52, 0.7]]},
        resume=str(given),
        resumed_epoch=39,
    )
    state = run.optimize()
    assert run.trainer.started_from == ["given", "baseline 1 epoch 39"]
    assert [record.epoch for record in state.records] == [39, 40, 41]
    assert (run.trainer.specs[0].last_epoch < run.trainer.specs[0].first_epoch) and state.champion is not None


def test_out_of_memory_gets_batch_1_with_the_same_effective_batch(lab: Callable[..., Lab]) -> None:
    script: Script = {"baseline": [[0.5, 0.5]], "multi_scale": [[0.5, "out_of_memory"], [0.6, 0.66]]}
    run = lab(script, config=config_of(batch_size=4, grad_accum_steps=5))
    state = run.optimize()
    first, again = run.trainer.specs[1:]
    assert (first.config["training"]["batch_size"], first.config["training"]["grad_accum_steps"]) == (4, 5)
    assert (first.setbacks, again.setbacks) == (0, 1)
    assert (again.config["training"]["batch_size"], again.config["training"]["grad_accum_steps"]) == (1, 20)
    assert again.config["training"]["multi_scale"] is True
    assert (first.first_epoch, again.first_epoch, again.attempt) == (3, 3, 1)
    assert [record.value("map_small") for record in state.records] == [0.5, 0.5, 0.5, 0.66], "epoch 3 is kept"
    assert len(state.runs[1].attempts) == 1 and state.runs[1].failures == ("out_of_memory",)
    note = (
        "Phase multi_scale goes on with training.batch_size=1, training.grad_accum_steps=20, evaluation.batch_size=1."
    )
    assert note in run.watcher.lines
    assert state.champion and state.champion.settings["training.batch_size"] == 1


def test_the_end_of_the_memory_ladder_fails_the_phase_and_the_strategy_goes_on(lab: Callable[..., Lab]) -> None:
    oom: Script = {"baseline": [[0.5, 0.5]], "multi_scale": [[0.5, "out_of_memory"]], "decay": [[0.6, 0.66]]}
    run = lab(oom, config=config_of(batch_size=4))
    state = run.optimize()
    assert [(phase.name, phase.status, len(phase.failures)) for phase in state.runs] == [
        ("baseline", "completed", 0),
        ("multi_scale", "failed", 3),
        ("decay", "completed", 0),
    ]
    tried = [spec.config["training"] for spec in run.trainer.specs if spec.phase == "multi_scale"]
    assert [(t["batch_size"], t["grad_accum_steps"], t["top_scale"]) for t in tried] == [
        (4, 1, None),
        (1, 4, None),
        (1, 4, 1.0),
    ]
    decay = run.trainer.specs[-1]
    assert run.trainer.started_from[-1] == "baseline 1 epoch 1"
    assert (decay.first_epoch, decay.config["training"]["multi_scale"]) == (4, False)
    assert (decay.config["training"]["batch_size"], decay.config["training"]["grad_accum_steps"]) == (1, 4), (
        "remembered"
    )
    log = run.folder / "phases" / "02_multi_scale" / "attempt_1" / "worker.log"
    assert f"Phase multi_scale failed (out_of_memory): out_of_memory in epoch 4; see {log}" in run.watcher.lines


@pytest.mark.parametrize(("failure", "tries"), [("not_a_number", 3), ("out_of_memory", 1)])
def test_without_a_baseline_there_is_no_run(lab: Callable[..., Lab], failure: str, tries: int) -> None:
    run = lab({"baseline": [[0.5, failure]]}, config=config_of(batch_size=1))
    message = f"The baseline failed .{failure} in epoch 2.*nothing to build on"
    with pytest.raises(TrainingError, match=message):
        run.optimize()
    kinds = run.kinds()
    with pytest.raises(TrainingError, match=message):
        run.optimize()
    assert run.kinds() == kinds and len(run.trainer.specs) == tries


def test_after_a_loss_that_is_no_number_the_rate_is_halved_twice(lab: Callable[..., Lab]) -> None:
    script: Script = {
        "baseline": [[0.5, "not_a_number"], [0.5, "not_a_number"], [0.5, 0.6]],
        "multi_scale": [[0.61, "not_a_number"]],
        "decay": [[0.6, 0.66]],
    }
    run = lab(script, config=config_of(learning_rate=0.008))
    state = run.optimize()
    rates = [(spec.phase, spec.config["training"]["learning_rate"]) for spec in run.trainer.specs]
    assert rates == [
        *(("baseline", rate) for rate in (0.008, 0.004, 0.002)),
        *(("multi_scale", rate) for rate in (0.002, 0.001, 0.0005)),
        ("decay", 0.001),
    ], "the champion's rate is inherited; that of a phase that failed is not"
    assert [phase.status for phase in state.runs] == ["completed", "failed", "completed"]
    assert "Phase baseline goes on with training.learning_rate=0.004." in run.watcher.lines
    assert [record.epoch for record in state.records] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("error", [DatasetError("train/a.jpg: can't be read"), Interrupted("stopped")])
def test_bad_data_and_interruptions_leave_the_phase_open(lab: Callable[..., Lab], error: Exception) -> None:
    run = lab({"baseline": [[0.5, 0.66]]})
    trainer, run.trainer = run.trainer, lambda spec, on_epoch, on_fact: _raise(error)
    with pytest.raises(type(error)):
        run.optimize()
    run.trainer = trainer
    assert run.optimize().finished.startswith("Target reached")
    assert run.kinds().count("attempt_started") == 1


def _raise(error: Exception) -> AttemptResult:
    raise error


def test_a_finished_folder_is_left_alone(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [[0.5, 0.66]]})
    state = run.optimize()
    before = run.kinds()
    assert run.optimize() == state
    assert run.kinds() == before and len(run.trainer.specs) == 1


def test_a_flat_phase_ends_early(lab: Callable[..., Lab]) -> None:
    phases = [{"name": "flat", "epochs": 6}, {"name": "patient", "epochs": 6, "end_on_plateau": False}]
    plan = plan_of(phases, plateau={"rule": "patience", "patience": 2})
    run = lab({"baseline": [[0.4, 0.5]], "flat": [[0.5] * 6], "patient": [[0.5] * 6]}, plan)
    state = run.optimize()
    assert [len(phase.records) for phase in state.runs] == [2, 3, 6]
    assert "grew by less than 0.001" in state.runs[1].attempts[0].ended_early


def test_phases_share_the_budget(lab: Callable[..., Lab], clock: Clock) -> None:
    names = ("a", "b", "c")
    phases = [{"name": name, "epochs": 50, "budget_share": 2 if name == "c" else 1} for name in names]
    plan = plan_of(phases, baseline={"budget_share": 4}, plateau={"threshold": -1})
    script: Script = {name: [[0.5] * 50] for name in ("baseline", *names)}
    run = lab(script, plan, config=config_of(epochs=50), on_seconds=clock.pass_by)
    state = run.optimize(budget_s=800.0)
    assert [len(phase.records) for phase in state.runs] == [40, 10, 10, 20]
    assert state.elapsed_s == 800.0 and [phase.seconds for phase in state.runs] == [400.0, 100.0, 100.0, 200.0]
    assert state.finished.startswith("No phase is left")


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(lab: Callable[..., Lab], clock: Clock) -> None:
    script: Script = {name: [[0.5, 0.5]] for name in ("baseline", "multi_scale", "higher", "decay")}
    run = lab(script, plan_of(baseline={"budget_share": 1000}), on_seconds=clock.pass_by)
    state = run.optimize(budget_s=15.0)
    assert [phase.name for phase in state.runs] == ["baseline"] and not state.finished
    assert state.champion is not None, "what was trained within the budget is judged"
    assert "The budget of 15 s is used up; the champion stays as it is." in run.watcher.lines
    clock.pass_by(1e6)
    assert run.optimize(budget_s=15.0) == state
    state = run.optimize(budget_s=95.0)
    assert [phase.name for phase in state.runs] == ["baseline", "multi_scale", "higher", "decay"]
    assert all(phase.closed for phase in state.runs) and state.finished
    assert state.budget_s == 95.0


def test_a_target_reached_with_the_last_second_ends_the_run(lab: Callable[..., Lab], clock: Clock) -> None:
    run = lab({"baseline": [[0.5, 0.66]]}, plan_of([]), on_seconds=clock.pass_by)
    assert run.optimize(budget_s=20.0).finished.startswith("Target reached")


def test_the_time_of_an_interrupted_phase_is_not_lost(lab: Callable[..., Lab], clock: Clock) -> None:
    run = lab({"baseline": [[0.5, 0.66]]}, on_seconds=clock.pass_by)
    watcher, run.watcher = run.watcher, _Interrupting()
    with pytest.raises(Interrupted):
        run.optimize()
    run.watcher = watcher
    clock.pass_by(5000.0)
    assert run.optimize().runs[0].seconds == 20.0


class _Interrupting(Watcher):
    def epoch(self, record: Any, best: float) -> None:
        raise Interrupted("stopped")


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"config": config_of(learning_rate=0.1)}, "training.learning_rate 0.002; now 0.1"),
        ({"plan": plan_of(target={"minimum": 0.6})}, "strategy.target.minimum 0.65; now 0.6"),
        ({"plan": plan_of([{**PHASES[0], "epochs": 3}, *PHASES[1:]])}, "strategy.phases.multi_scale.epochs 2; now 3"),
        (
            {"plan": plan_of([PHASES[0], PHASES[2], PHASES[1]])},
            'strategy.phases ["multi_scale", "higher", "decay"]; now ["m',
        ),
        (
            {"plan": plan_of(PHASES[:2])},
            'strategy.phases ["multi_scale", "higher", "decay"]; now ["multi_scale", "higher"]',
        ),
    ],
)
def test_other_settings_are_refused_by_name(lab: Callable[..., Lab], changed: dict[str, Any], key: str) -> None:
    script: Script = {"baseline": [[0.5, 0.66]]}
    first = lab(script)
    first.optimize()
    before = (first.folder / "journal.sqlite").read_bytes()
    with pytest.raises(RunFolderError) as caught:
        lab(script, **changed).optimize()
    assert f"holds a run with {key}" in str(caught.value)
    same = f"--strategy {first.folder}/strategy.yaml" if "plan" in changed else "the same settings"
    assert f". Give {same} to continue it" in str(caught.value)
    assert (first.folder / "journal.sqlite").read_bytes() == before


def test_settings_without_influence_on_the_figures_may_change(lab: Callable[..., Lab]) -> None:
    lab({"baseline": [[0.5, 0.66]]}).optimize()
    lab({}, config=config_of(num_workers=2, threads=1, device="cpu")).optimize()


def test_words_of_a_strategy_may_change(lab: Callable[..., Lab]) -> None:
    """A run of days goes on with a strategy file whose titles, risks and expectations were written anew."""
    lab({"baseline": [[0.5, 0.66]]}).optimize()
    said = {"title": "Other", "risk": "high", "mitigation": "Other", "expected_gain": [0.5, 0.6]}
    lab({}, plan=plan_of([{**phase, **said} for phase in PHASES])).optimize()


def test_another_kind_of_run_is_refused(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [[0.5, 0.66]]})
    run.optimize()
    with pytest.raises(RunFolderError, match="holds a run of `smallsight optimize`"):
        run.train("one", config_of())


def test_a_run_of_another_version_is_refused(lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Config, "to_dict", lambda self: {"training": {"epochs": 2, "of_old": 1}})
    with pytest.raises(BaseException, match="of_old"):
        lab({"baseline": [[0.5, 0.66]]}).optimize()
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match="was written by another version"):
        lab({}).optimize()


def test_a_second_runner_is_refused(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [[0.5, 0.66]]})
    with hold(run.folder), pytest.raises(RunFolderError, match="another smallsight process works on this run"):
        run.optimize()
    assert run.optimize().finished


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunFolderError, match="can't be written"), hold(folder):
            pass


def test_after_a_crash_a_phase_goes_on_with_the_same_settings(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [["crashed"], [0.5, 0.6]], "multi_scale": [[0.61, "crashed"], [0.62, 0.66]]})
    state = run.optimize()
    assert [(phase.status, len(phase.attempts), phase.failures) for phase in state.runs] == [
        ("completed", 1, ("crashed",))
    ] * 2
    first, again = run.trainer.specs[2:]
    assert (first.config, first.first_epoch) == (again.config, again.first_epoch)
    assert [record.value("map_small") for record in state.records] == [0.5, 0.6, 0.61, 0.66]
    assert "Phase baseline goes on with the same settings." in run.watcher.lines


def test_crashes_with_epochs_between_them_do_not_end_a_phase(lab: Callable[..., Lab]) -> None:
    """A phase takes days, and a machine may fail every few hours."""
    tries = [[0.5, "crashed"], [0.5, 0.51, "crashed"], [0.5, 0.51, 0.52, "crashed"], [0.5, 0.51, 0.52, 0.66]]
    run = lab({"baseline": tries}, config=config_of(epochs=4))
    state = run.optimize()
    assert [record.value("map_small") for record in state.records] == [0.5, 0.51, 0.52, 0.66]
    assert state.runs[0].failures == ("crashed",) * 3 and state.finished.startswith("Target reached")


def test_a_phase_that_crashes_twice_has_failed_and_the_tree_goes_on(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [[0.5, 0.6]], "multi_scale": [["crashed"]], "decay": [[0.6, 0.66]]})
    state = run.optimize()
    assert [(phase.name, phase.status, len(phase.failures)) for phase in state.runs] == [
        ("baseline", "completed", 0),
        ("multi_scale", "failed", 2),
        ("decay", "completed", 0),
    ]


@pytest.mark.parametrize(
    ("script", "phase", "closed"),
    [
        ({"baseline": [["crashed"]] * 4 + [[0.5, 0.66]]}, "baseline", 0),
        (
            {"baseline": [[0.5, 0.6]], "multi_scale": [["crashed"]], "decay": [["crashed"]] * 4 + [[0.6, 0.66]]},
            "decay",
            2,
        ),
    ],
)
def test_crashes_without_end_use_up_no_phase(lab: Callable[..., Lab], script: Script, phase: str, closed: int) -> None:
    run = lab(script)
    log = run.folder / "phases" / f"{closed + 1:02d}_{phase}" / "attempt_1" / "worker.log"
    with pytest.raises(TrainingError) as caught:
        run.optimize()
    assert str(caught.value).startswith(f"Phase {phase} crashed again: crashed in epoch") and str(log) in str(
        caught.value
    )
    state = run.published[-1]
    assert not state.finished and [p.closed for p in state.runs] == [True] * closed + [False]
    with pytest.raises(TrainingError, match="crashed again"):
        run.optimize()
    state = run.optimize()
    assert state.finished.startswith("Target reached") and state.runs[-1].failures == ("crashed",) * 4
    assert run.kinds().count("halted") == 2


def test_an_open_phase_is_judged_when_the_budget_is_used_up(lab: Callable[..., Lab], clock: Clock) -> None:
    script: Script = {"baseline": [[0.5, 0.5]], "multi_scale": [[0.6, 0.61]]}
    run = lab(script, plan_of(baseline={"budget_share": 1e-3}), on_seconds=clock.pass_by)
    watcher, run.watcher = run.watcher, _InterruptingAt(2)
    with pytest.raises(Interrupted):
        run.optimize(budget_s=100.0)
    run.watcher = watcher
    clock.pass_by(1e6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run.trainer), "_trained", lambda *_: pytest.fail("no time is left to train"))
        state = run.optimize(budget_s=20.0)
    last = state.runs[-1]
    assert (last.name, last.status, len(last.records)) == ("multi_scale", "completed", 1)
    assert last.verdict and last.verdict.outcome == "improved" and run.champion_file == "multi_scale 1 epoch 2"
    assert last.current and "are left for this phase" in last.current.ended_early and not state.finished


class _InterruptingAt(Watcher):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.at = epoch

    def epoch(self, record: Any, best: float) -> None:
        if record.epoch == self.at:
            raise Interrupted("stopped")


def test_a_budget_that_is_too_small_for_anything_is_an_error(lab: Callable[..., Lab], clock: Clock) -> None:
    run = lab({"baseline": [[0.5, 0.66]]}, on_seconds=clock.pass_by)
    trainer, run.trainer = run.trainer, lambda spec, on_epoch, on_fact: _raise(Interrupted("stopped"))
    with pytest.raises(Interrupted):
        run.optimize(budget_s=30.0)
    run.trainer = trainer
    with pytest.raises(
        TrainingError, match=r"The budget of 0 s ended before anything could be judged. Raise --budget."
    ):
        run.optimize(budget_s=0.0)
    assert run.optimize(budget_s=100.0).finished


def test_the_configured_first_epoch(lab: Callable[..., Lab], tmp_path: Path) -> None:
    config = Config.model_validate({"training": {"epochs": 51}, "checkpoint": {"start_epoch": 50}})
    assert [r.epoch for r in lab({"baseline": [[0.5, 0.66]]}, config=config).optimize().records] == [50, 51]


@pytest.mark.parametrize(("resumed", "epochs"), [(39, [49, 50, 51]), (60, [60, 61, 62])])
def test_the_configured_first_epoch_after_a_checkpoint(
    lab: Callable[..., Lab], tmp_path: Path, resumed: int, epochs: list[int]
) -> None:
    given = tmp_path / "given.pth"
    given.write_text("given")
    config = Config.model_validate({"checkpoint": {"start_epoch": 50}})
    script: Script = {"baseline": [[0.5]], "multi_scale": [[0.6, 0.66]]}
    state = lab(script, config=config, resume=str(given), resumed_epoch=resumed).optimize()
    assert [record.epoch for record in state.records] == epochs


def test_another_start_is_refused(lab: Callable[..., Lab], tmp_path: Path) -> None:
    given, other = tmp_path / "given.pth", tmp_path / "other.pth"
    for path in (given, other):
        path.write_text(path.name)
    script: Script = {"baseline": [[0.66]]}
    lab(script, resume=str(given)).optimize()
    assert lab(script).optimize().finished and lab(script, resume=str(given)).optimize().finished
    with pytest.raises(RunFolderError, match=r"holds a run that starts from .*given\.pth; now .*other\.pth"):
        lab(script, resume=str(other)).optimize()


def test_a_start_is_refused_where_the_run_began_without(lab: Callable[..., Lab]) -> None:
    lab({"baseline": [[0.5, 0.66]]}).optimize()
    with pytest.raises(RunFolderError, match=r"holds a run that starts from scratch; now other\.pth"):
        lab({}, resume="other.pth").optimize()


@pytest.mark.parametrize("damage", [lambda path: path.write_text("another"), Path.unlink])
@pytest.mark.parametrize("origin_is_whole", [True, False])
def test_a_damaged_champion_is_put_back_or_told(
    lab: Callable[..., Lab], damage: Callable[[Path], object], origin_is_whole: bool
) -> None:
    run = lab({"baseline": [[0.5, 0.6]], "multi_scale": [[0.6, 0.66]]})
    watcher, run.watcher = run.watcher, _InterruptingAt(3)
    with pytest.raises(Interrupted):
        run.optimize()
    run.watcher = watcher
    best = run.folder / "checkpoint_best.pth"
    origin = run.folder / "phases" / "01_baseline" / "attempt_1" / "best.pth"
    damage(best)
    if not origin_is_whole:
        damage(origin)
        trained = len(run.trainer.specs)
        with pytest.raises(RunFolderError) as caught:
            run.optimize()
        assert str(caught.value).startswith(f"{best}: is ") and f"neither is {origin}" in str(caught.value)
        assert len(run.trainer.specs) == trained
        best.write_text("baseline 1 epoch 2")  # as the message asks
    assert run.optimize().finished
    assert set(run.trainer.started_from[1:]) == {"baseline 1 epoch 2"}


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_run_whose_journal_is_lost_is_not_overwritten(
    lab: Callable[..., Lab], lose: Callable[[Path], object]
) -> None:
    run = lab({"baseline": [[0.5, 0.66]]})
    run.optimize()
    lose(run.folder / "journal.sqlite")
    champion = run.champion_file
    with pytest.raises(RunFolderError, match=r"journal\.sqlite is gone or empty.*--resume .*checkpoint_best\.pth"):
        run.optimize()
    assert run.champion_file == champion and len(run.trainer.specs) == 1


def test_a_full_disk_is_no_failure_of_the_phase(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [[0.5, 0.66]]})
    full = OSError(28, "No space left on device", "checkpoint.pth")
    trainer, run.trainer = run.trainer, lambda spec, on_epoch, on_fact: _raise(full)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            run.optimize()
    run.trainer = trainer
    state = run.optimize()
    assert state.finished and state.runs[0].failures == () and run.kinds().count("attempt_started") == 1


def test_the_guard_is_not_worn_down_phase_by_phase(lab: Callable[..., Lab]) -> None:
    script: Script = {"baseline": [[0.5, 0.5]], "multi_scale": [[0.6, 0.7]], "decay": [[0.6, 0.7]]}
    run = lab(script, plan_of([PHASES[0], PHASES[2]]))
    run.trainer.guard = {"multi_scale": 0.697, "decay": 0.6981}
    state = run.optimize()
    verdicts = {phase.name: phase.verdict for phase in state.runs if phase.verdict}
    assert {name: verdict.outcome for name, verdict in verdicts.items()}["multi_scale"] == "no_evidence"
    assert "map_50_95 0.697 is more than 0.002 below the baseline's 0.700" in verdicts["multi_scale"].reason
    assert state.champion and state.champion.phase == "decay"


@pytest.mark.parametrize(
    ("kind", "changed", "refused"),
    [
        ("optimize", "train", "train.json: is not the file that the run in"),
        ("optimize", "valid images", "valid: these are not the images that the run in"),
        ("train", "valid images", "valid: these are not the images that the run in"),
        ("train", "valid", "valid.json: is not the file that the run in"),
        ("train", "train images", ""),
        ("optimize", "", ""),
    ],
)
def test_changed_data_are_refused_where_figures_would_be_compared(
    lab: Callable[..., Lab], kind: str, changed: str, refused: str
) -> None:
    files = {"train": Path("train.json"), "valid": Path("valid.json")}
    files |= {"train images": Path("train"), "valid images": Path("valid")}
    before = dict.fromkeys(files, "a")
    run = lab({"baseline": [[0.5, 0.66]]}, annotations=before)
    state = run.optimize() if kind == "optimize" else run.train("baseline", config_of())
    now = {**before, **({changed: "b"} if changed else {})}
    if not refused:
        refuse_other_annotations(run.folder, state, now, files)
        return
    with pytest.raises(RunFolderError, match=refused) as caught:
        refuse_other_annotations(run.folder, state, now, files)
    assert "use another --output-dir, with --resume" in str(caught.value)


CONTINUE: list[dict[str, Any]] = [{"name": "continue", "epochs": 2}, PHASES[0]]


def test_going_on_without_a_change_is_kept_without_evidence(lab: Callable[..., Lab]) -> None:
    script: Script = {"baseline": [[0.5, 0.51]], "continue": [[0.512, 0.511]], "multi_scale": [[0.513, 0.512]]}
    run = lab(script, plan_of(CONTINUE))
    state = run.optimize()
    outcomes = [phase.verdict.outcome for phase in state.runs if phase.verdict]
    assert outcomes == ["kept", "no_evidence"], "the change has to prove its gain, going on has not"
    assert run.trainer.started_from[-1] == "continue 1 epoch 3" == run.champion_file
    assert state.champion and (state.champion.phase, state.champion.record.epoch) == ("continue", 3)
    assert (
        "Phase continue: no_evidence by 0.002. Kept: it changes no setting and is not demonstrably worse."
        in run.watcher.lines
    )
    epochs = [[int(Path(file).stem.removeprefix("valid_epoch_")) for file in side] for side in run.compared[1]]
    assert epochs == [[5, 6], [3, 4]], "the next one meets it as the best of its epochs"


def test_going_on_that_is_demonstrably_worse_is_rolled_back(lab: Callable[..., Lab]) -> None:
    run = lab({"baseline": [[0.5, 0.51]], "continue": [[0.4, 0.45]], "multi_scale": [[0.6, 0.6]]}, plan_of(CONTINUE))
    state = run.optimize()
    assert state.runs[1].verdict and state.runs[1].verdict.outcome == "regressed"
    assert run.trainer.started_from[-1] == "baseline 1 epoch 2"


def test_going_on_with_another_rate_is_a_change(lab: Callable[..., Lab]) -> None:
    """A loss that is no number halved it."""
    script: Script = {"baseline": [[0.5, 0.51]], "continue": [["not_a_number"], [0.512, 0.511]]}
    state = lab(script, plan_of(CONTINUE[:1])).optimize()
    assert state.runs[1].verdict and state.runs[1].verdict.outcome == "no_evidence"


def test_going_on_with_smaller_batches_is_no_change(lab: Callable[..., Lab]) -> None:
    script: Script = {"baseline": [[0.5, 0.51]], "continue": [["out_of_memory"], [0.512, 0.511]]}
    state = lab(script, plan_of(CONTINUE[:1]), config=config_of(batch_size=4)).optimize()
    assert state.runs[1].verdict and state.runs[1].verdict.outcome == "kept"


AT: dict[str, dict[str, Any]] = {level: {"target": {"stop_at": level}} for level in ("minimum", "success")}
UP: Script = {"baseline": [[0.4, 0.66]], "multi_scale": [[0.67, 0.68]], "higher": [[0.7, 0.71]], "decay": [[0.7, 0.7]]}


def test_a_run_that_ended_goes_on_to_a_higher_level(lab: Callable[..., Lab]) -> None:
    first = lab(UP, plan_of(**AT["minimum"]))
    assert "add strategy.stop_at=success" in first.optimize().finished and len(first.trainer.specs) == 1
    run = lab(UP, plan_of(**AT["success"]))
    state = run.optimize()
    assert [phase.name for phase in state.runs] == ["baseline", "multi_scale", "higher"]
    assert [stop.reason.partition(".")[0] for stop in state.stops] == [
        "Target reached: map_small 0",
        "Target reached: map_small 0",
    ]
    assert "0.710 >= 0.7 (success level)" in state.finished and state.plan["target"]["stop_at"] == "success"
    assert "target.stop_at is now success; it was minimum." in run.watcher.lines
    assert "stop_at: success" in (run.folder / "strategy.yaml").read_text()
    kinds = run.kinds()
    assert lab(UP, plan_of(**AT["success"])).optimize() == state and run.kinds() == kinds


def test_a_run_ends_at_a_lower_level_where_that_is_asked_for(lab: Callable[..., Lab]) -> None:
    run = lab(UP, plan_of(**AT["success"]))
    watcher, run.watcher = run.watcher, _InterruptingAt(3)
    with pytest.raises(Interrupted):
        run.optimize()
    run.watcher = watcher
    run.plan = plan_of(**AT["minimum"])
    state = run.optimize()
    assert "(minimum level)" in state.finished and [phase.name for phase in state.runs][-1] != "decay"
