"""A phase that hurts is rolled back: the champion is untouched, the next phase starts from it, the report says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from smallsight.config.yaml_files import to_yaml
from smallsight.errors import EXIT_DONE
from smallsight.files import sha256_of
from smallsight.run.fold import read_state
from training.frames import tiny_settings, write_discs
from waiting import HANGS_S

STRATEGY = {
    "target": {"stop_at": "never"},
    "phases": [
        {"name": "far_too_fast", "epochs": 2, "scale": {"training.learning_rate": 100}},
        {"name": "slower", "epochs": 1, "scale": {"training.learning_rate": 0.001}},
    ],
}


@pytest.mark.slow
def test_a_learning_rate_that_is_far_too_high_is_rolled_back(tmp_path: Path) -> None:
    write_discs(tmp_path / "train", 16, seed=1)
    write_discs(tmp_path / "valid", 24, seed=2)
    (tmp_path / "run.yaml").write_text(to_yaml(tiny_settings(tmp_path, epochs=6, device="cpu")))
    (tmp_path / "strategy.yaml").write_text(to_yaml(STRATEGY))
    options = ["--config", "run.yaml", "--strategy", "strategy.yaml", "--output-dir", "out"]
    command = [sys.executable, "-m", "smallsight", "optimize", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS_S)
    assert done.returncode == EXIT_DONE, done.stderr
    out = tmp_path / "out"
    state = read_state(out)

    assert [(run.name, run.verdict and run.verdict.outcome) for run in state.runs[:2]] == [
        ("baseline", None),
        ("far_too_fast", "regressed"),
    ]
    champion = state.champion
    assert champion is not None and champion.phase == "baseline"
    assert sha256_of(out / "checkpoint_best.pth") == champion.sha256
    assert sha256_of(out / "phases/01_baseline/attempt_1/best.pth") == champion.sha256

    hurt, following = (_spec(out, folder) for folder in ("02_far_too_fast", "03_slower"))
    assert hurt["config"]["training"]["learning_rate"] == pytest.approx(0.3)
    assert following["config"]["training"]["learning_rate"] == pytest.approx(0.000003)
    assert Path(following["start_path"]).name == "checkpoint_best.pth"

    report = json.loads((out / "training_evaluation_detailed.json").read_text())
    reasons = {phase["name"]: phase["reason"] for phase in report["phases"]}
    assert "map_small fell:" in reasons["far_too_fast"]
    assert reasons["far_too_fast"].endswith("Rolled back: the champion stays, and the next phase starts from it.")
    assert "regressed" in done.stdout and "Rolled back: the champion stays" in done.stdout


def _spec(out: Path, phase: str) -> dict[str, dict[str, dict[str, float]]]:
    content: dict[str, dict[str, dict[str, float]]] = json.loads(
        (out / f"phases/{phase}/attempt_1/attempt.json").read_text()
    )
    return content
