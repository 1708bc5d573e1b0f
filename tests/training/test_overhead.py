"""What the benchmark of supervision compares with: a loop that is plain, and trains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmark_files import FOLDER, load
from smallsight.training import module
from training.frames import attempt_spec, tiny_settings, write_data
from waiting import HANGS_S


def test_the_plain_loop_makes_its_step_without_lightning(tmp_path: Path) -> None:
    attempt = attempt_spec(tmp_path, tiny_settings(write_data(tmp_path / "data"))).save()
    code = (
        f"import runpy, sys; sys.argv = ['', {str(attempt)!r}]\n"
        f"runpy.run_path({str(FOLDER / 'plain_loop.py')!r}, run_name='__main__')\n"
        "assert 'torch' in sys.modules and 'pytorch_lightning' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS_S)
    assert done.returncode == 0, done.stderr


def test_both_optimizers_have_the_same_moments() -> None:
    assert load("plain_loop").BETAS == module.BETAS
