"""The script that measures on a GPU, small and on a CPU: its plumbing, not its figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark_files import FOLDER
from waiting import HANGS_S

ROOT = FOLDER.parent


def gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = [str(FOLDER / "gpu.sh"), "--device", "cpu", "--embedded", "--budget", str(HANGS_S), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS_S, env=environment)


def figures(out: Path) -> dict[str, dict[str, Any]]:
    """The parts by name."""
    return {part["name"]: part for part in json.loads((out / "figures.json").read_text())["parts"]}


def whether_met(part: dict[str, Any]) -> dict[str, bool]:
    """What had a target."""
    return {figure["what"]: figure["met"] for figure in part["figures"] if figure["target"]}


@pytest.mark.slow
def test_parts_follow_one_another_and_the_table_shows_them(tmp_path: Path) -> None:
    done = gpu("--out", str(tmp_path), "--parts", "frames,training")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = figures(tmp_path)
    assert list(parts) == ["frames", "training"]
    assert [part["state"] for part in parts.values()] == ["done"] * 2
    assert whether_met(parts["training"]) == {"loss, first to last epoch": True}
    (rate,) = (figure for figure in parts["training"]["figures"] if figure["what"] == "training")
    assert 0 < rate["low"] <= rate["value"] <= rate["high"]
    assert [epoch for epoch in parts["training"]["details"]["training_0"]["epochs"] if not epoch["steps"]] == []
    command = [sys.executable, str(FOLDER / "gpu.py"), "table", str(tmp_path / "figures.json")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == (tmp_path / "table.md").read_text().strip()
    assert "| training | embedded, 192 px, batch 4, fp32 |" in shown


@pytest.mark.slow
def test_a_part_that_fails_says_why_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """Without frames nothing can be detected on; the library's trainer is not in this plan."""
    done = gpu("--out", str(tmp_path), "--parts", "whole_run,ratio,frames")
    parts = figures(tmp_path)
    assert done.returncode == 1
    assert (parts["whole_run"]["state"], parts["ratio"]["state"], parts["frames"]["state"]) == (
        "failed",
        "left out",
        "done",
    )
    assert "smallsight train ended with 2" in parts["whole_run"]["why"]
    assert "`whole_run`, failed" in (tmp_path / "table.md").read_text()


def test_what_the_budget_has_no_time_for_is_left_out(tmp_path: Path) -> None:
    done = gpu("--out", str(tmp_path), "--parts", "frames", "--spent", str(HANGS_S))
    assert done.returncode == 1
    assert figures(tmp_path)["frames"]["why"] == "no time was left"


def test_an_unknown_part_is_refused() -> None:
    done = gpu("--out", "nowhere", "--parts", "frames,tea")
    assert done.returncode == 2
    assert "no part is called tea" in done.stderr


@pytest.mark.slow
def test_a_kill_and_scarce_memory_are_survived(tmp_path: Path) -> None:
    done = gpu("--out", str(tmp_path), "--parts", "frames,resume,memory", "--budget", str(2 * HANGS_S))
    assert done.returncode == 0, done.stdout + done.stderr
    parts = figures(tmp_path)
    for name in ("resume", "memory"):
        assert whether_met(parts[name]) and all(whether_met(parts[name]).values()), parts[name]
