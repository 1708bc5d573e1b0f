"""Where the files of an attempt lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smallsight.attempts.spec import AttemptSpec
from smallsight.config.load import Config
from training.frames import attempt_spec


def test_a_specification_is_read_as_it_was_saved(tmp_path: Path) -> None:
    spec = replace(attempt_spec(tmp_path, Config()), beside_others=True)
    assert AttemptSpec.load(spec.save()) == spec


def test_attempts_that_follow_each_other_share_the_files_of_the_run(tmp_path: Path) -> None:
    spec = attempt_spec(tmp_path, Config())
    assert (spec.checkpoint, spec.live) == (tmp_path / "checkpoint.pth", tmp_path / "live.json")
    assert spec.lightweight(3) == tmp_path / "checkpoints" / "checkpoint_epoch_3_lightweight.pth"


def test_attempts_beside_each_other_share_no_file(tmp_path: Path) -> None:
    folders = [tmp_path / "phases" / phase / "attempt_1" for phase in ("02_more", "03_larger")]
    specs = [replace(attempt_spec(tmp_path, Config()), folder=str(each), beside_others=True) for each in folders]
    for spec, folder in zip(specs, folders, strict=True):
        written = (spec.checkpoint, spec.live, spec.best, spec.log, spec.lightweight(3), spec.detections(3))
        assert all(path.is_relative_to(folder) for path in written)
