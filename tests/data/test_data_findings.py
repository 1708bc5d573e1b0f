"""A finding as the message of an error, and the report that raises at the first one."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallsight.data.data_findings import COCO_KINDS, READ_AS_MEANT, DataFinding, FirstError, Where, coco_finding
from smallsight.errors import DatasetError

PATH = Path("set/labels.json")


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            coco_finding("area_wrong", Where(image_id=3, annotation_id=7), "area", "-1", "px^2", remedy="Correct it."),
            "set/labels.json: annotation 7: area: got -1, expected px^2. Correct it.",
        ),
        (
            coco_finding("image_id_duplicate", Where(file="a.png"), "image id 1 is used twice"),
            "set/labels.json: image id 1 is used twice. Give each image its own id.",
        ),
        (
            coco_finding(
                "annotations_unreadable", Where(), "", "list at the top", "a COCO object", remedy="Export it."
            ),
            "set/labels.json: got list at the top, expected a COCO object. Export it.",
        ),
        (coco_finding("ids_shifted", Where(), "All are. Run it.", remedy=""), "set/labels.json: All are. Run it."),
        (
            DataFinding("image_missing", "error", Where(image_id=2), "no file", remedy="Put it there.", also="1 more."),
            "set/labels.json: image 2: no file. Put it there. 1 more.",
        ),
    ],
)
def test_a_finding_is_one_message(found: DataFinding, sentence: str) -> None:
    assert found.sentence(PATH) == sentence
    with pytest.raises(DatasetError) as caught:
        FirstError(PATH)(DataFinding(found.kind, "error", found.where, found.wrong, found.got, found.expected))
    assert str(caught.value).startswith("set/labels.json: ")


def test_a_missing_file_is_told_by_its_folder() -> None:
    assert (
        coco_finding("annotations_missing", Where(), "nothing in it").sentence(PATH).startswith("set: nothing in it. ")
    )


def test_what_is_no_error_does_not_stop_and_notes_are_kept() -> None:
    report = FirstError(PATH)
    report(coco_finding(READ_AS_MEANT, Where(), "2 names differ."))
    report(coco_finding("area_wrong", Where(annotation_id=1), "area 9"))
    assert report.notes == ["set/labels.json: 2 names differ."]


def test_each_kind_has_a_title_and_a_remedy_that_is_a_sentence() -> None:
    for kind in COCO_KINDS.values():
        assert kind.title and kind.remedy.endswith(".")
