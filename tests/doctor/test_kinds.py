"""Each kind of fault, planted alone: it is found, with its remedy, and nothing else is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import write_coco_folder
from doctor.faults import FEW, MANY, TABLE, Planted, box, no_utf8
from smallsight.config.load import Config
from smallsight.config.sections import DatasetPaths
from smallsight.data.coco import read_coco
from smallsight.doctor.examine import Examination, Options, examine
from smallsight.doctor.kinds import KINDS, line_of
from smallsight.errors import DatasetError
from smallsight.records import Detections


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Clean datasets with a few and with many images, each with train and valid."""
    roots = {}
    for count in (FEW, MANY):
        roots[count] = tmp_path_factory.mktemp(f"clean_{count}")
        for seed, split in enumerate(("train", "valid")):
            write_coco_folder(roots[count] / split, count, ball_px=(6.0, 7.0), seed=seed)
    return roots


def look(root: Path, **options: Any) -> Examination:
    return examine(root, Options(workers=1, **options))


def alarms(examination: Examination, *kinds: str) -> set[str]:
    """The kinds of all errors and warnings, and of infos that are asked for."""
    return {item.kind for item in examination.findings if item.severity != "info" or item.kind in kinds}


@pytest.mark.parametrize("count", [FEW, MANY])
def test_clean_data_raises_no_alarm(clean: dict[int, Path], count: int) -> None:
    examination = look(clean[count])
    assert alarms(examination) == set()
    assert examination.sound


@pytest.mark.parametrize("case", TABLE, ids=lambda case: " ".join(filter(None, (case.kind, case.note))))
def test_a_fault_is_found_alone_with_its_remedy(clean: dict[int, Path], tmp_path: Path, case: Planted) -> None:
    root = tmp_path / "data"
    shutil.copytree(clean[case.images], root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    case.plant(root)
    planted = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert planted != before or case.kind == "path_outside"

    examination = look(root)

    assert alarms(examination, case.kind) - consequences(case) == {case.kind}
    found = [item for item in examination.findings if item.kind == case.kind]
    assert case.severity in {item.severity for item in found}
    assert any(case.says in item.message for item in found), [item.message for item in found]
    for item in found:
        assert item.remedy == KINDS[case.kind].remedy or line_of(item).endswith(".")  # its own, told in its line
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == planted


def consequences(case: Planted) -> set[str]:
    """What cannot be without the fault: a file that nobody lists any more, a second size that is wrong."""
    if case.kind == "file_name_duplicate":
        return {"image_size_wrong"}
    return {"image_unlisted"} if case.kind == "image_name_invalid" or case.note == "too long" else set()


def test_every_kind_is_planted() -> None:
    assert {case.kind for case in TABLE} | {"label_missing"} == set(KINDS)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: " ".join(filter(None, (case.kind, case.note))))
def test_what_stops_the_strict_reader_is_an_error(clean: dict[int, Path], tmp_path: Path, case: Planted) -> None:
    root = tmp_path / "data"
    shutil.copytree(clean[case.images], root)
    case.plant(root)
    stopped = False
    for split in ("train", "valid"):
        try:
            read_coco(root / split)
        except DatasetError:
            stopped = True
    assert not stopped or not look(root).sound


def test_confident_detections_without_a_label_are_named(clean: dict[int, Path]) -> None:
    def predict(dataset: Any) -> list[Detections]:
        found = []
        for number, truth in enumerate(dataset.truths):
            extra = np.array([[40, 30, 46, 36]], np.float32) + (0 if number == 0 else 300)
            boxes = np.concatenate([truth.boxes + 1, extra])
            scores = np.array([0.99, 0.9 if number == 0 else 0.3], np.float32)
            found.append(Detections(boxes, scores, np.zeros(2, np.int64)))
        return found

    examination = look(clean[FEW] / "train", predict=predict)
    missing = [item for item in examination.findings if item.kind == "label_missing"]
    assert [item.where.file for item in missing] == ["frame_000.jpg"]
    assert "score 0.90" in missing[0].message
    assert len(examination.not_seen) == len(look(clean[FEW] / "train").not_seen) - 1


def test_a_split_with_errors_is_not_predicted_on_and_that_is_said(clean: dict[int, Path], tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(clean[FEW], root)
    box([10, 10, 0, 5])(root)
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    examination = look(root, predict=lambda dataset: [nothing] * len(dataset))
    assert "missing altogether in train, before its errors are mended" in examination.not_seen[-1]
    assert alarms(examination) == {"box_degenerate"}


def test_a_folder_without_a_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no _annotations\.coco\.json in it or in a folder of it"):
        look(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        look(tmp_path / "nowhere")


def test_the_result_is_json_with_all_findings(clean: dict[int, Path], tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(clean[FEW], root)
    no_utf8(root)
    content = json.loads(json.dumps(look(root).to_json()))
    assert content["counts"] == {"error": 0, "warning": 1, "info": content["counts"]["info"]}
    odd = content["findings"][0]
    assert (odd["kind"], odd["count"]) == ("name_odd", 1)
    assert odd["findings"][0]["file"] == "frame_\udcff.jpg"
    assert odd["remedy"] == KINDS["name_odd"].remedy


def test_a_class_that_only_the_configuration_knows_is_named(clean: dict[int, Path]) -> None:
    config = Config(dataset=DatasetPaths(category_name="goal"))
    examination = look(clean[FEW], config=config)
    assert alarms(examination) == {"class_absent"}
    assert "'goal', which the configuration names, is no class; the dataset has ball" in examination.findings[0].message
    assert examination.recommendation is None
