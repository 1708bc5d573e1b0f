"""A memory budget that is too small for multi-scale training, from the probe to the report: the mission's fallback."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from in_turn import one_at_a_time
from smallsight.attempts.failures import classify
from smallsight.attempts.messages import EpochDone, Memory, Message
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.commands import train
from smallsight.records import EpochRecord
from smallsight.run.fold import read_state
from smallsight.training import memory
from training.frames import tiny_settings, write_data

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice
BUDGET_MB = 1e5
"""Far above what the test takes; multi-scale training is made to seem larger."""


class InThisProcess:
    """As `ChildTrainer`, without a process: loading PyTorch anew would take longer than the training.

    Attributes:
        spec: of the attempt that runs.
        epochs: it has reported.
    """

    spec: AttemptSpec
    epochs: int

    def __init__(self, on_progress: Any) -> None:
        self.go_on = True

    def __call__(
        self, spec: AttemptSpec, on_epoch: Callable[[EpochRecord], bool], on_fact: Callable[..., None]
    ) -> AttemptResult:
        from smallsight.training.fit import run_attempt

        InThisProcess.spec, InThisProcess.epochs = spec, 0
        self.on_epoch, self.on_fact = on_epoch, on_fact
        spec.save()
        try:
            run_attempt(spec, self)
        except Exception as error:
            return AttemptResult(classify(1, type(error).__name__, str(error)), str(error))
        return AttemptResult()

    def tell(self, message: Message) -> None:
        if isinstance(message, EpochDone):
            InThisProcess.epochs += 1
            self.go_on = self.on_epoch(message.record)
        elif isinstance(message, Memory):
            self.on_fact(message)

    def ask_to_go_on(self) -> bool:
        return self.go_on

    def stop_requested(self) -> bool:
        return False

    def listen_to_signals(self) -> None:
        return


def mission(*names: str) -> dict[str, Any]:
    """The mission's strategy as shipped, its phases cut to these and to two epochs, with a target out of reach."""
    content = yaml.safe_load((Path(str(files("smallsight"))) / "strategies" / "small_objects.yaml").read_text())
    phases = [{**phase, "epochs": 2} for phase in content["phases"] if phase["name"] in names]
    target = {**content["target"], "minimum": 0.97, "success": 0.98, "optimal": 0.99}
    return {**content, "target": target, "baseline": {"epochs": 1}, "phases": phases}


@pytest.mark.parametrize(
    ("epochs_before", "tree", "expected"),
    [
        (0, ("multi_scale", "higher_resolution", "lr_decay_half"), ["baseline", "multi_scale", "lr_decay_half"]),
        (1, ("multi_scale", "higher_resolution", "copy_paste"), ["baseline", "multi_scale", "copy_paste"]),
    ],
)
def test_a_budget_too_small_for_multi_scale_ends_in_the_fallback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs_before: int,
    tree: tuple[str, ...],
    expected: list[str],
) -> None:
    """It runs out in the probe, or after an epoch of the phase: then that epoch stands and is not trained again."""
    real = memory.resident_mb

    def resident_mb() -> float:
        spec = InThisProcess.spec
        done = InThisProcess.epochs >= epochs_before or spec.setbacks > 0
        return real() + (BUDGET_MB if spec.config["training"]["multi_scale"] and done else 0.0)

    monkeypatch.setattr(memory, "resident_mb", resident_mb)
    monkeypatch.setattr("smallsight.commands.workers.LocalTrainer", one_at_a_time(InThisProcess))
    settings = tiny_settings(write_data(tmp_path / "data"), memory_budget_mb=BUDGET_MB)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "strategy.yaml").write_text(yaml.safe_dump(mission(*tree)))
    run = tmp_path / "run"
    train.optimize(tmp_path / "run.yaml", tmp_path / "strategy.yaml", [], run, None, None, quiet=True)

    state = read_state(run)
    assert [phase.name for phase in state.runs] == expected
    failed, fallback = state.runs[1:]
    assert (failed.status, failed.failures) == ("failed", ("out_of_memory",) * 3)
    assert failed.current and "its budget (training.memory_budget_mb) is 100000" in failed.current.message
    tried = [s.settings for s in failed.current.setbacks] + [failed.current.settings]
    assert [(t.get("training.batch_size"), t.get("training.top_scale")) for t in tried] == [
        (None, None),
        (1, None),
        (1, 1.0),
    ]
    assert fallback.status == "completed" and "multi_scale" not in fallback.decision.settings
    done = [1 + epochs_before, 3 + epochs_before]
    assert [record.epoch for record in state.records] == list(range(1, done[1] + 1)), "no epoch is done twice or lost"
    assert [record.epoch for record in failed.records] == list(range(2, done[0] + 1))
    rows = (run / "metrics.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == [record.epoch for record in state.records]
    report = json.loads((run / "training_evaluation_detailed.json").read_text())
    assert "its budget (training.memory_budget_mb) is 100000" in json.dumps(report)
    if "lr_decay_half" in tree:
        assert "multi_scale failed (out_of_memory)" in fallback.decision.reason
        assert "multi_scale failed (out_of_memory)" in json.dumps(report)
