"""Checkpoints that are read without a fault and hold something else than a checkpoint does."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from hostile.readers import read_checkpoints, rfdetr_like, write_checkpoints
from smallsight.attempts.spec import FORMAT
from smallsight.detectors.build import descriptions_of
from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.detectors.foreign import read_foreign
from smallsight.errors import CheckpointError

EMBEDDINGS = [name for name in rfdetr_like()["model"] if "embeddings" in name]
NANO = {"detector": "nano", "class_names": ["ball"], "flip_average": False}


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        *(("detector", {**NANO, "width": width}, "the width") for width in (1e6, float("nan"), -1, 0, "x", [1], None)),
        *(("detector", value, "detector: is not what") for value in (None, [1], "nano")),
        ("detector", {}, "holds a None detector"),
        *(("detector", {**NANO, "width": 1.0, "class_names": names}, "no texts") for names in (5, None, "ball", [[1]])),
        *(("class_names", names, "class_names: is not what") for names in (5, None, "ball", [[1]], {})),
        *(("resolution", value, "resolution: is not what") for value in ("x", None, 0, -640, 10**12, 640.0)),
        *(("epoch", value, "epoch: is not what") for value in ("x", None, -1, [1])),
        *(("ema_model", value, "ema_model: is not what") for value in (None, [1], {"a": 1}, {1: torch.zeros(1)})),
        ("ema_model", {}, "the weights don't fit"),
        ("ema_model", {"stem.weight": torch.zeros(1).expand(10**6, 10**6)}, "the weights don't fit"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_ours(tmp_path: Path, part: str, value: Any, reason: str) -> None:
    write_checkpoints(tmp_path)
    content = load_checkpoint(tmp_path / "ours.pth")
    torch.save({**content, part: value, "format": FORMAT}, tmp_path / "ours.pth")
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoints(tmp_path)


@pytest.mark.parametrize("name", ["class_embed.bias", "transformer.decoder.layers.0.linear1.weight", *EMBEDDINGS])
@pytest.mark.parametrize(
    "value",
    [torch.zeros(()), torch.zeros(0), torch.zeros(2, 2, 2, 2, 2), None, "x"],
    ids=lambda v: str(getattr(v, "shape", v)),
)
def test_theirs(tmp_path: Path, name: str, value: Any) -> None:
    content = rfdetr_like()
    content["model"] = {**content["model"], name: value, 5: torch.zeros(1)}
    torch.save(content, tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError, match="RF-DETR"):
        descriptions_of(read_foreign(tmp_path / "theirs.pth"))


@pytest.mark.parametrize("name", ["head.weight", "head.bias", "down4.0.0.weight", "mix8.1.running_mean"])
@pytest.mark.parametrize(
    "value",
    [torch.zeros(()), torch.zeros(0), torch.zeros(2, 2, 2, 2, 2), torch.zeros(1).expand(10**6, 10**6), None, "x"],
    ids=lambda v: str(getattr(v, "shape", v)),
)
def test_another_trainers_weights_of_the_embedded_detector(tmp_path: Path, name: str, value: Any) -> None:
    write_checkpoints(tmp_path)
    content = torch.load(tmp_path / "bare.pth", weights_only=True)
    content["model_state_dict"][name] = value
    torch.save(content, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match=r"does not fit|no detector that this version knows"):
        read_checkpoints(tmp_path)


@pytest.mark.parametrize(
    "pickled",
    [b"\x80\x02}r\x00", b"\x80\x02X\x05", b"\x80\x02K\x00Q.", b"\x80\x02}q\x00", b""],
    ids=["a number cut short", "a length cut short", "a tensor that is a number", "no end", "nothing"],
)
@pytest.mark.parametrize("name", ["ours.pth", "theirs.pth"])
def test_an_archive_that_is_whole_but_what_it_holds_is_not(tmp_path: Path, name: str, pickled: bytes) -> None:
    write_checkpoints(tmp_path)
    with zipfile.ZipFile(tmp_path / name) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for item, data in members.items():
            archive.writestr(item, pickled if item.endswith("data.pkl") else data)
    with pytest.raises(CheckpointError, match="can't be read as a checkpoint"):
        read_checkpoints(tmp_path)
