from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from smallsight.detectors.nano import NanoDetector
from smallsight.errors import CheckpointError
from smallsight.training.checkpoint import check_classes, load_checkpoint, load_weights, save_checkpoint


def content(**changes: Any) -> dict[str, Any]:
    detector = NanoDetector(("ball",), width=0.5)
    return {
        "detector": dict(detector.description()),
        "class_names": ["ball"],
        "resolution": 640,
        "epoch": 3,
        "model": detector.state_dict(),
        "ema_model": detector.state_dict(),
        **changes,
    }


class Exploit:
    """What a hostile file would hold: loading it with pickle would run a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pth", content())
    loaded = load_checkpoint(tmp_path / "a.pth")
    assert loaded["epoch"] == 3 and loaded["class_names"] == ["ball"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pth"], "nothing temporary is left"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pth: no such file"):
        load_checkpoint(tmp_path / "gone.pth")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, content())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointError, match=r"can't be read"):
        load_checkpoint(path)


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    torch.save(content(extra=Exploit(trace)), tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"can't be read"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not trace.exists()


@pytest.mark.parametrize("data", [b"", b"root:x:0:0:root:/root:/bin/bash\n", b"PK\x03\x04", b"\x80\x02}."])
def test_any_file_can_be_handed_in(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "any").write_bytes(data)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "any")


@pytest.mark.parametrize("value", [[1, 2], {}, {"model": {}}, torch.zeros(2)])
def test_another_kind_of_file_is_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"not a checkpoint of this version"):
        load_checkpoint(tmp_path / "other.pth")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"don't fit"):
        load_weights(NanoDetector(("ball",), width=1.0), content()["model"], tmp_path / "a.pth")


def test_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"\['ball'\].*\['puck'\]"):
        check_classes(tmp_path / "a.pth", content(), ("puck",))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, content())
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, content(epoch=4))
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["a.pth"]
