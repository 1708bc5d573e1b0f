from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from smallsight.detectors.checkpoint import (
    Damaged,
    check_classes,
    load_checkpoint,
    load_weights,
    newest_whole,
    previous_of,
    refuse_not_a_number,
    save_checkpoint,
)
from smallsight.detectors.nano.network import NanoDetector
from smallsight.errors import CheckpointError
from smallsight.rng import keyed_generator


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


def same(left: Any, right: Any) -> bool:
    """Whether two contents are equal, tensors to the bit."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    return bool(left == right)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("part", ["anywhere", "beginning", "end"])
def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path: Path, part: str) -> None:
    """Parts of the archive mean nothing (padding, times); whatever is loaded is what was saved."""
    path = tmp_path / "a.pth"
    save_checkpoint(path, content())
    whole, expected = path.read_bytes(), load_checkpoint(path)
    bits = 8 * len(whole)
    low, high = {"anywhere": (0, bits), "beginning": (0, 24_000), "end": (bits - 80_000, bits)}[part]
    found = 0
    for bit in keyed_generator("flip", part).integers(low, high, size=60):
        path.write_bytes(flipped(whole, int(bit)))
        try:
            assert same(load_checkpoint(path), expected), f"bit {bit}"
        except Damaged:
            found += 1
    assert found > 10


def test_a_flipped_bit_of_a_weight_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    weights = {"w": torch.full((1000,), 1.2345)}
    save_checkpoint(path, content(model=weights))
    place = path.read_bytes().index(weights["w"].numpy().tobytes())
    path.write_bytes(flipped(path.read_bytes(), 8 * (place + 402) + 3))
    with pytest.raises(Damaged, match=r"a\.pth: can't be read as a checkpoint \(the checksum of .*data/\d+ is wrong"):
        load_checkpoint(path)
    assert not torch.equal(torch.load(path)["model"]["w"], weights["w"]), "so the check is needed"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    path.write_bytes(flipped(path.read_bytes(), path.stat().st_size * 4))


@pytest.mark.parametrize(
    ("damage", "taken"), [(None, 2), (_cut, 1), (_flip, 1), (Path.unlink, 1), (lambda path: path.write_bytes(b""), 1)]
)
def test_the_one_before_takes_the_place_of_a_damaged_one(
    tmp_path: Path, damage: Callable[[Path], object] | None, taken: int
) -> None:
    path = tmp_path / "checkpoint.pth"
    for epoch in (0, 1, 2):
        save_checkpoint(path, content(epoch=epoch), keep_previous=True)
    if damage:
        damage(path)
    assert load_checkpoint(newest_whole(path))["epoch"] == taken
    assert sorted(p.name for p in tmp_path.iterdir())[-1] == "checkpoint_previous.pth"


def test_where_both_are_damaged_the_newer_one_is_complained_about(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    for epoch in (1, 2):
        save_checkpoint(path, content(epoch=epoch), keep_previous=True)
    _cut(path), _cut(previous_of(path))
    assert newest_whole(path) == path
    assert newest_whole(tmp_path / "none.pth") == tmp_path / "none.pth"


@pytest.mark.parametrize("at", range(1, 5))
def test_a_crash_at_any_moment_leaves_one_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """The third save stops before its fsync, between the two renames, before the folder's fsync, or not at all."""
    path = tmp_path / "checkpoint.pth"
    for epoch in (1, 2):
        save_checkpoint(path, content(epoch=epoch), keep_previous=True)
    calls = []

    def stopping(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any) -> Any:
            calls.append(call)
            if len(calls) == at:
                raise KeyboardInterrupt
            return call(*arguments)

        return instead

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(os, "fsync", stopping(os.fsync))
        patch.setattr(Path, "replace", stopping(Path.replace))
        save_checkpoint(path, content(epoch=3), keep_previous=True)
    assert len(calls) == at
    assert load_checkpoint(newest_whole(path))["epoch"] == (2 if at < 4 else 3)


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
    with pytest.raises(OSError, match="No space left") as caught:
        save_checkpoint(path, content(epoch=4))
    assert caught.value.filename == str(path), "the message names the disk"
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["a.pth"]


def test_a_checkpoint_that_is_not_kept_is_answered_with_those_that_are(tmp_path: Path) -> None:
    for epoch in (10, 2):
        (tmp_path / f"checkpoint_epoch_{epoch}_lightweight.pth").touch()
    missing = tmp_path / "checkpoint_epoch_3_lightweight.pth"
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(missing)
    assert str(caught.value) == (
        f"{missing}: no such file. Those of the epochs 2, 10 are there (checkpoint.keep says how many stay). Give one "
        "of them."
    )
    with pytest.raises(CheckpointError, match="for example models/checkpoint"):
        load_checkpoint(tmp_path / "another.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused(tmp_path: Path, value: float) -> None:
    detector = NanoDetector(("ball",), width=0.5)
    weights = {name: weight.clone() for name, weight in detector.state_dict().items()}
    weights["head.bias"][0] = value
    with pytest.raises(
        CheckpointError, match=r"a\.pth: 1 of its \d+ tensors hold values that are not numbers \(head\.bias"
    ):
        load_weights(detector, weights, tmp_path / "a.pth")


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder, expected a checkpoint"):
        load_checkpoint(tmp_path)
    (tmp_path / "checkpoint_best.pth").write_text("weights")
    with pytest.raises(CheckpointError, match=r"Give .*checkpoint_best\.pth"):
        load_checkpoint(tmp_path)


def test_a_tensor_that_repeats_one_value_takes_no_memory(tmp_path: Path) -> None:
    refuse_not_a_number({"stem.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "a.pth")
