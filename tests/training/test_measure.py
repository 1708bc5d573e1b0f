"""`smallsight evaluate`: every checkpoint that training can start from, with the weights that were judged."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from builders import ANNOTATIONS, write_annotations
from smallsight.attempts.spec import AttemptSpec
from smallsight.cli import app
from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.errors import CheckpointError, ConfigError
from smallsight.training.measure import Measured, measure, predictor
from training.test_judged_weights import data, of_events, stuck

__all__ = ["data", "stuck"]
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice
HOW: dict[str, Any] = {"device": "cpu"}


def small(measured: Measured) -> float:
    return float(measured.metrics["map_small"].value)


def test_the_judged_weights_are_taken_unless_others_are_asked_for(
    stuck: tuple[AttemptSpec, list[dict[str, Any]]], data: Path
) -> None:
    spec, events = stuck
    record = of_events(events)[-1]
    best = Path(spec.folder).parents[1] / "judged.pth"
    torch.save({**load_checkpoint(spec.checkpoint), "judged": record.weights, "format": "smallsight 1"}, best)
    judged, average, raw = (measure(best, data / "valid", **HOW, weights=kind) for kind in ("judged", "average", "raw"))
    assert record.weights == "raw" and judged.weights == "raw" and average.weights == "average"
    assert small(judged) == small(raw) == pytest.approx(record.value("map_small"))
    assert small(average) == pytest.approx(record.other["map_small"].value)


def old_layout(best: Path, path: Path, *, swapped: bool = False, **args: Any) -> Path:
    """Weights of ours as an older trainer of another kind would leave them."""
    content = load_checkpoint(best)
    state = content["model"]
    if swapped:  # a head of two outputs, the second of which is the class
        idle = torch.full_like(state["head.weight"][:1], 0.0), torch.full_like(state["head.bias"][:1], -6.0)
        for key, row in zip(("head.weight", "head.bias"), idle, strict=True):
            state = {**state, key: torch.cat([row, state[key]])}
    torch.save({"model": state, "epoch": 38, "args": argparse.Namespace(**args)}, path)
    return path


def test_a_foreign_file_has_the_figures_of_its_weights(
    stuck: tuple[AttemptSpec, list[dict[str, Any]]], data: Path, tmp_path: Path
) -> None:
    spec, _ = stuck
    ours = measure(spec.checkpoint, data / "valid", **HOW, weights="raw")
    theirs = old_layout(spec.checkpoint, tmp_path / "old.pth", resolution=ours.resolution)
    found = measure(theirs, data / "valid", **HOW)
    assert found.metrics == ours.metrics and found.epoch == 39
    assert any("only output" in note for note in found.notes)


def test_outputs_without_names_are_tried_on_the_labelled_frames(
    stuck: tuple[AttemptSpec, list[dict[str, Any]]], data: Path, tmp_path: Path
) -> None:
    spec, _ = stuck
    ours = measure(spec.checkpoint, data / "valid", **HOW, weights="raw")
    theirs = old_layout(spec.checkpoint, tmp_path / "two.pth", swapped=True, resolution=ours.resolution)
    found = measure(theirs, data / "valid", **HOW)
    assert small(found) == small(ours) and any("output 1 taken" in note for note in found.notes)
    name = next(iter(load_checkpoint(spec.checkpoint)["class_names"]))
    wrong = measure(theirs, data / "valid", **HOW, class_outputs={name: 0})
    assert small(wrong) < 0.02 < small(found)


def test_a_file_that_does_not_say_its_resolution_needs_it(
    stuck: tuple[AttemptSpec, list[dict[str, Any]]], data: Path, tmp_path: Path
) -> None:
    theirs = old_layout(stuck[0].checkpoint, tmp_path / "old.pth")
    with pytest.raises(ConfigError, match="Give it with --resolution"):
        measure(theirs, data / "valid", **HOW)
    assert measure(theirs, data / "valid", **{**HOW, "resolution": 96}).resolution == 96
    assert len(predictor(theirs, resolution=96, device="cpu")(_dataset(data))) == len(_dataset(data))


def _dataset(data: Path) -> Any:
    from smallsight.data.coco import read_coco

    return read_coco(data / "valid")


def test_no_words_of_the_libraries_on_a_file_that_asks_for_code(data: Path, tmp_path: Path) -> None:
    import fractions

    torch.save({"model": {"w": torch.zeros(1)}, "args": fractions.Fraction(1, 2)}, tmp_path / "odd.pth")
    said = CliRunner().invoke(app, ["evaluate", str(tmp_path / "odd.pth"), str(data / "valid")])
    assert isinstance(said.exception, CheckpointError)
    words = str(said.exception)
    assert "asks for fractions.Fraction to be run" in words and "\x1b" not in words and "weights_only" not in words


def test_from_the_command_line(stuck: tuple[AttemptSpec, list[dict[str, Any]]], data: Path, tmp_path: Path) -> None:
    theirs = old_layout(stuck[0].checkpoint, tmp_path / "two.pth", swapped=True, resolution=96)
    name = next(iter(load_checkpoint(stuck[0].checkpoint)["class_names"]))
    command = ["evaluate", str(theirs), str(data / "valid"), "--device", "cpu"]
    found = CliRunner().invoke(app, [*command, "--json", "--weights", "raw", "--class-outputs", f"{name}=1"])
    content = json.loads(found.output)
    assert content["weights"] == "raw" and "model.class_outputs" in content["notes"][0]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0 and said.output.startswith("Given checkpoint: class head: tried on ")
    content = json.loads((data / "valid" / ANNOTATIONS).read_text())
    for item in content["annotations"]:
        item["category_id"] = str(item["category_id"])
    shutil.copytree(data / "valid", tmp_path / "texts")
    write_annotations(tmp_path / "texts", content)
    said = CliRunner().invoke(app, ["evaluate", str(theirs), str(tmp_path / "texts"), *command[3:]])
    assert said.exit_code == 0 and f"category_id {len(content['annotations'])}" in said.output
    wrong = CliRunner().invoke(app, [*command, "--class-outputs", "ball"])
    assert isinstance(wrong.exception, ConfigError) and "expected CLASS=N" in str(wrong.exception)
