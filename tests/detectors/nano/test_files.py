"""Files of other trainers that hold the embedded detector's weights."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from smallsight.config.load import build_config
from smallsight.detectors.build import descriptions_of, detector_from_description, refuse_other_network
from smallsight.detectors.foreign import ForeignFile, read_foreign
from smallsight.detectors.nano.network import NanoDetector
from smallsight.errors import CheckpointError


def trained(*names: str, width: float = 0.5) -> NanoDetector:
    torch.manual_seed(3)
    return NanoDetector(names, width=width)


def old_layout(state: dict[str, Any]) -> dict[str, Any]:
    average = {key: value + 0.25 if value.is_floating_point() else value for key, value in state.items()}
    args = argparse.Namespace(resolution=640, class_names=["ball"])
    return {"model": state, "ema_model": average, "optimizer": {"state": {0: 1}}, "epoch": 38, "args": args}


LAYOUTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "old layout": old_layout,
    "model_state_dict": lambda state: {"model_state_dict": state, "epoch": 38},
    "bare": lambda state: state,
    "of a wrapped network": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_weights(name: str, tmp_path: Path) -> None:
    state = trained("ball").state_dict()
    torch.save(LAYOUTS[name](state), tmp_path / "weights.pth")
    file = read_foreign(tmp_path / "weights.pth")
    (description,) = descriptions_of(file)
    detector = detector_from_description({**description, "class_names": ["ball"]}, "weights.pth")
    outputs = detector.class_outputs(file, (1,), None)
    start = detector.start_from(file, outputs.taken)
    assert description["width"] == 0.5 and outputs.taken == (0,) and outputs.is_known
    assert all(torch.equal(start.model[key], value) for key, value in state.items())
    moved = start.average["head.bias"] - start.model["head.bias"]
    assert torch.allclose(moved, torch.full_like(moved, 0.25 if name == "old layout" else 0.0), atol=1e-6)
    assert any("no average" in note for note in start.notes) == (name != "old layout")
    assert any("no epoch" in note for note in start.notes) == (file.epoch is None)
    assert file.epoch == (39 if name in ("old layout", "model_state_dict") else None)


@pytest.mark.parametrize("width", [0.25, 0.5, 0.7, 1.0, 1.35, 2.0])
def test_the_width_is_seen_from_the_shapes(width: float) -> None:
    state = trained("ball", width=width).state_dict()
    (description,) = descriptions_of(ForeignFile(Path("f.pth"), state))
    again = detector_from_description({**description, "class_names": ["ball"]}, "f.pth")
    assert {key: value.shape for key, value in again.state_dict().items()} == {k: v.shape for k, v in state.items()}


@pytest.mark.parametrize(
    ("known", "count", "names", "taken", "is_known"),
    [
        (["player", "ball"], 2, ["ball"], (1,), True),
        (["player", "ball"], 2, ["ball", "referee"], (1, None), True),
        ([], 1, ["football"], (0,), True),
        ([], 2, ["ball"], (0,), False),
        ([], 2, ["ball", "player", "referee"], (0, 1, None), False),
    ],
)
def test_which_output_is_which_class(
    known: list[str], count: int, names: list[str], taken: tuple[int | None, ...], is_known: bool
) -> None:
    source = trained(*(f"c{at}" for at in range(count)))
    file = ForeignFile(Path("f.pth"), source.state_dict(), class_names=tuple(known))
    detector = NanoDetector(names, width=0.5)
    outputs = detector.class_outputs(file, None, None)
    assert (outputs.taken, outputs.is_known) == (taken, is_known)
    head, own = detector.start_from(file, outputs.taken).model["head.weight"], detector.state_dict()["head.weight"]
    for row, output in enumerate(taken):
        assert torch.equal(head[row], own[row] if output is None else file.model["head.weight"][output])
    assert torch.equal(head[len(names) :], file.model["head.weight"][count:])


def test_another_width_or_detector_is_refused_with_the_key_to_set() -> None:
    file = ForeignFile(Path("f.pth"), trained("ball").state_dict())
    with pytest.raises(CheckpointError, match=r"width 0.5; got 1.0 in model.width. Set model.width=0.5"):
        refuse_other_network(file, build_config({}, "run.yaml"))
    with pytest.raises(CheckpointError, match=r"holds a nano detector; got rfdetr"):
        refuse_other_network(file, build_config({"model": {"rfdetr_size": "tiny"}}, "run.yaml"))
    refuse_other_network(file, build_config({"model": {"width": 0.5}}, "run.yaml"))
