"""Further evaluation sets of a run: what is refused, what is warned of, and what a set that guards says to a phase."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import ANNOTATIONS, write_annotations, write_coco_folder
from smallsight.commands.inputs import Inputs, read_inputs
from smallsight.commands.judging import DetectionsJudge
from smallsight.commands.sets import further_sets, guard_of
from smallsight.config.load import LoadedConfig, build_config
from smallsight.data.coco import read_coco
from smallsight.errors import ConfigError, DatasetError, RunFolderError
from smallsight.evaluation.detections_file import save_detections
from smallsight.records import Detections, Estimate, Verdict
from smallsight.run.folder import AttemptFolder, detections_of_set
from smallsight.strategy.plan import Plan
from strategy.lab import Lab
from strategy.test_keeping import phase, state_of

Sets = Mapping[str, Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three sets with labels, and frames without."""
    for seed, name in enumerate(("train", "valid", "real", "night")):
        write_coco_folder(tmp_path / name, 16, seed=seed)
    write_coco_folder(tmp_path / "video", 3)
    (tmp_path / "video" / ANNOTATIONS).unlink()
    return tmp_path


def inputs_of(data: Path, sets: Sets, kind: str = "optimize", folder: Path | None = None) -> Inputs:
    content = {
        "dataset": {"coco_train_path": str(data / "train"), "coco_val_path": str(data / "valid")},
        "evaluation": {"sets": sets, "replicates": 200},
    }
    loaded = LoadedConfig(build_config(content, "test"), "test.yaml", content)
    return read_inputs(loaded, Plan(), folder or data / "run", None, kind)


def guarding(data: Path, *names: str) -> dict[str, Any]:
    return {name: {"path": str(data / name), "guards": True} for name in names}


def test_how_each_set_was_read_is_said_once(data: Path) -> None:
    for name in ("train", "real"):
        content = json.loads((data / name / ANNOTATIONS).read_text())
        for item in content["annotations"]:
            item["category_id"] = str(item["category_id"])
        write_annotations(data / name, content)
    inputs = inputs_of(data, guarding(data, "real"))
    said = [warning for warning in inputs.warnings if "written as text" in warning]
    assert [warning.split(":")[0] for warning in said] == [str(data / name / ANNOTATIONS) for name in ("train", "real")]


# What is refused


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "-a", "nächtlich", "a.b", "x" * 41, "a\n"])
def test_a_name_has_to_fit_into_file_names(data: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="becomes part of file names"):
        inputs_of(data, {name: str(data / "real")})


def test_two_names_may_not_differ_by_capitals_alone(data: Path) -> None:
    with pytest.raises(ConfigError, match="by its capitals alone"):
        inputs_of(data, {"real": str(data / "real"), "Real": str(data / "night")})


def test_a_set_that_guards_holds_objects_of_the_targets_size(data: Path) -> None:
    content = json.loads((data / "real" / ANNOTATIONS).read_text())
    for annotation in content["annotations"]:
        annotation["area"] = 2000
    write_annotations(data / "real", content)
    with pytest.raises(DatasetError, match=r"evaluation\.sets\.real: .*no object there is of a size that map_small"):
        inputs_of(data, guarding(data, "real"))
    assert inputs_of(data, {"real": str(data / "real")}).further == ()


def test_the_sets_of_every_epoch(data: Path) -> None:
    inputs = inputs_of(data, {**guarding(data, "real"), "night": str(data / "night"), "video": str(data / "video")})
    assert [(each.name, each.labelled) for each in inputs.further] == [("real", True), ("video", False)]
    roots = {dataset.root.name for dataset in inputs.unseen}
    assert roots == {"train", "valid", "real", "video"}, "all that is decoded in a run is decoded once before it"
    assert {"set real", "set real images"} < set(inputs.origin.annotations)
    assert not any("night" in key or "video" in key for key in inputs.origin.annotations)


# What is warned of


def render(folder: Path, share: float = 1.0) -> None:
    """Put the renderer's mark on a share of a set's images."""
    content = json.loads((folder / ANNOTATIONS).read_text())
    for image in content["images"][: round(share * len(content["images"]))]:
        image["rendered_by"] = "smallsight synth"
    write_annotations(folder, content)


def about_rendering(inputs: Inputs) -> list[str]:
    return [warning for warning in inputs.warnings if "smallsight synth rendered" in warning]


def test_a_rendered_validation_set_is_said_at_the_start(data: Path) -> None:
    assert about_rendering(inputs_of(data, {})) == []
    render(data / "valid")
    assert about_rendering(inputs_of(data, {"video": str(data / "video"), "night": str(data / "night")})) == [
        f"{data / 'valid'}: smallsight synth rendered all validation images. What is better on them need not be better "
        "on real frames. Add labelled real frames, for example evaluation.sets.real={path: data/real, guards: true}."
    ]
    assert about_rendering(inputs_of(data, guarding(data, "real"))) == []


def test_a_rendered_set_that_guards_stands_for_no_real_frames(data: Path) -> None:
    render(data / "valid")
    render(data / "real")
    assert len(about_rendering(inputs_of(data, guarding(data, "real")))) == 1


@pytest.mark.parametrize(("share", "said"), [(0.25, ""), (0.75, "rendered 75% of the validation images")])
def test_a_set_of_both_kinds(data: Path, share: float, said: str) -> None:
    render(data / "valid", share)
    assert said in "".join(about_rendering(inputs_of(data, {})) or [""])
    assert bool(about_rendering(inputs_of(data, {}))) == bool(said)


def test_many_further_frames_are_said(data: Path) -> None:
    few = inputs_of(data, guarding(data, "real")).warnings
    many = inputs_of(data, guarding(data, "real", "night")).warnings
    assert not any("further frames" in warning for warning in few)
    assert any("32 further frames are evaluated after every epoch, in addition to the 16" in text for text in many)


# What a set says to a phase


def keep(folder: Path, epoch: int, root: Path, share: float, name: str = "") -> Path:
    """Detections that find this share of a set's objects; the file of those on the validation set."""
    dataset, found = read_coco(root), []
    for index, truth in enumerate(dataset.truths):
        boxes = truth.boxes if index < share * len(dataset) else truth.boxes[:0]
        found.append(Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64)))
    valid = AttemptFolder(folder).detections(epoch)
    save_detections(detections_of_set(valid, name) if name else valid, found, [image.id for image in dataset.images])
    return valid


def compared(data: Path, sets: Sets, candidate: Mapping[str, float], champion: Mapping[str, float]) -> Verdict:
    """The verdict of a run with these shares of objects found, by set."""
    files = []
    for epoch, shares in ((2, candidate), (1, champion)):
        for name, share in shares.items():
            files.append(keep(data / "attempt", epoch, data / name, share, "" if name == "valid" else name))
    chosen = list(dict.fromkeys(files))
    return DetectionsJudge(inputs_of(data, sets)).phase([chosen[0]], [chosen[1]], 0.95)


BETTER = ({"valid": 1.0}, {"valid": 0.3})


@pytest.mark.parametrize(
    ("real", "outcome", "says"),
    [
        ((0.9, 0.3), "improved", "on real map_small changed by +0.6"),
        ((0.3, 0.9), "regressed", "on real, which guards, map_small fell: -0.6"),
        ((0.9, 0.9), "improved", "on real map_small changed by +0.000"),
    ],
)
def test_a_phase_that_loses_on_a_set_that_guards_is_not_crowned(
    data: Path, real: tuple[float, float], outcome: str, says: str
) -> None:
    ours, theirs = ({**shares, "real": share} for shares, share in zip(BETTER, real, strict=True))
    verdict = compared(data, guarding(data, "real"), ours, theirs)
    assert verdict.outcome == outcome and says in verdict.reason and "map_small rose:" in verdict.reason
    assert verdict.sets["real"].n == 16


def test_without_a_guard_the_validation_set_alone_decides(data: Path) -> None:
    ours, theirs = ({**shares, "real": share} for shares, share in zip(BETTER, (0.3, 0.9), strict=True))
    verdict = compared(data, {"real": str(data / "real")}, ours, theirs)
    assert verdict.outcome == "improved" and verdict.sets == {} and "real" not in verdict.reason


def test_each_of_several_sets_may_object(data: Path) -> None:
    ours = {"valid": 1.0, "night": 0.2, "real": 0.9}
    verdict = compared(data, guarding(data, "real", "night"), ours, {"valid": 0.3, "night": 0.9, "real": 0.9})
    assert verdict.outcome == "regressed" and set(verdict.sets) == {"real", "night"}


def test_a_champion_that_was_not_measured_there_can_t_be_compared(data: Path) -> None:
    verdict = compared(data, guarding(data, "real"), {"valid": 1.0, "real": 0.1}, {"valid": 0.3})
    assert verdict.outcome == "improved" and "real can't guard" in verdict.reason


def test_what_was_found_on_other_images_is_refused(data: Path) -> None:
    inputs = inputs_of(data, guarding(data, "real"))
    champion, candidate = (keep(data / "attempt", epoch, data / "valid", 0.5) for epoch in (1, 2))
    for file in (champion, candidate):
        save_detections(detections_of_set(file, "real"), [], [])
    verdict = Verdict("improved", Estimate(0.1), Estimate(0.0), "it rose")
    with pytest.raises(RunFolderError, match="made on other validation images"):
        guard_of(inputs.config, inputs.plan, inputs.further)(verdict, candidate, champion)


# The same run?


def begin(data: Path, sets: Sets) -> Lab:
    """A strategy that has trained its baseline with these sets."""
    inputs = inputs_of(data, sets)
    lab = Lab(data / "run", {"baseline": [[0.5] * 10]}, inputs.plan, config=inputs.config)
    lab.annotations = inputs.origin.annotations
    lab.optimize()
    return lab


def test_changed_images_of_a_set_that_guards_are_refused(data: Path) -> None:
    begin(data, guarding(data, "real"))
    (data / "real" / "frame_000.jpg").write_bytes((data / "valid" / "frame_000.jpg").read_bytes())
    with pytest.raises(RunFolderError, match=r"real: these are not the images that the run in .* began with"):
        inputs_of(data, guarding(data, "real"))


def test_changed_labels_of_a_set_that_guards_are_refused(data: Path) -> None:
    begin(data, guarding(data, "real"))
    content = json.loads((data / "real" / ANNOTATIONS).read_text())
    write_annotations(data / "real", {**content, "annotations": content["annotations"][1:]})
    with pytest.raises(RunFolderError, match=r"_annotations\.coco\.json: is not the file that the run"):
        inputs_of(data, guarding(data, "real"))


def test_sets_that_do_not_guard_may_change(data: Path) -> None:
    begin(data, {"night": str(data / "night"), "video": str(data / "video")})
    (data / "video" / "frame_000.jpg").unlink()
    write_annotations(data / "night", {})
    assert inputs_of(data, {"video": str(data / "video")}).further[0].name == "video"


@pytest.mark.parametrize("before", [(), ("real",)])
def test_a_strategy_keeps_its_guards(data: Path, before: Sequence[str]) -> None:
    begin(data, guarding(data, *before))
    after = {} if before else guarding(data, "real")
    with pytest.raises(RunFolderError, match=r"holds a run with evaluation\.sets\.real .*; now "):
        inputs_of(data, after)


def test_a_phase_by_hand_with_another_guard_is_another_phase(data: Path) -> None:
    real, video = guarding(data, "real"), {"video": str(data / "video")}
    calls = [inputs_of(data, sets, "train") for sets in ({}, video, real, {**video, **real})]
    lab = Lab(data / "run", {"one": [[0.5] * 10]}, calls[0].plan, config=calls[0].config)
    begun = []
    for inputs in calls:
        lab.annotations = inputs.origin.annotations
        begun.append(len(lab.train("one", inputs.config).runs))
    assert begun == [1, 1, 2, 2]


def test_frames_that_were_looked_at_are_not_decoded_again(data: Path) -> None:
    config = build_config({"evaluation": {"sets": {"video": str(data / "video")}}}, "test")
    found = further_sets(config, Plan(), read_coco(data / "train"), read_coco(data / "valid"))
    run = phase(1, "a", 1, [0.5])
    (attempt,) = run.attempts
    (record,) = attempt.records
    for sets_of_record, count in (({}, 1), ({"video": {}}, 0)):
        records = (replace(record, sets=sets_of_record),)
        state = state_of(replace(run, attempts=(replace(attempt, records=records),)), champion=None)
        assert len(found.unseen(state)) == count
