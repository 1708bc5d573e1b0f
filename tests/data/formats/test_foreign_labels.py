"""Files that are nobody's but their tool's are told by name, with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from data.labelled import write_picture
from smallsight.data.coco import read_coco
from smallsight.data.formats.foreign_labels import foreign_json, foreign_xml
from smallsight.data.sources import read_source
from smallsight.errors import DatasetError

TOOLS: list[tuple[str, Any]] = [
    ("Label Studio's own JSON", [{"id": 1, "data": {"image": "/data/upload/a.png"}, "annotations": [{"result": []}]}]),
    ("CreateML's JSON", [{"image": "a.png", "annotations": [{"label": "ball", "coordinates": {"x": 1}}]}]),
    ("VGG Image Annotator", {"_via_settings": {}, "_via_img_metadata": {}}),
    ("VGG Image Annotator", {"a.png123": {"filename": "a.png", "size": 123, "regions": []}}),
    ("labelme's file of one image", {"version": "5", "shapes": [], "imagePath": "a.png", "imageHeight": 50}),
    ("COCO results", [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}]),
]


@pytest.mark.parametrize(("named", "content"), TOOLS, ids=[row[0] for row in TOOLS])
def test_a_file_of_another_tool_is_named(tmp_path: Path, named: str, content: Any) -> None:
    assert named in foreign_json(content)
    write_picture(tmp_path / "a.png")
    (tmp_path / "export.json").write_text(json.dumps(content))
    for source in (tmp_path, tmp_path / "export.json"):
        with pytest.raises(DatasetError, match=named) as caught:
            read_source(source)
        assert str(caught.value).startswith(f"{tmp_path / 'export.json'}: ")
    (tmp_path / "export.json").rename(tmp_path / "_annotations.coco.json")
    with pytest.raises(DatasetError, match=named):
        read_coco(tmp_path)


@pytest.mark.parametrize(
    "content", [None, 1, "x", [], {}, [1], [{}], {"a": 1}, {"a": {"filename": 1}}, {"images": [], "annotations": []}]
)
def test_others_are_nobodys(content: Any) -> None:
    assert foreign_json(content) == ""


def test_coco_is_coco_whatever_else_is_in_it() -> None:
    assert foreign_json({"images": [], "annotations": [], "categories": [], "shapes": [], "imagePath": ""}) == ""


def test_the_xml_of_cvat(tmp_path: Path) -> None:
    text = "<annotations><version>1.1</version><image id='0' name='a.png' width='9' height='9'/></annotations>"
    assert "CVAT's own XML" in foreign_xml(ElementTree.fromstring(text))
    assert foreign_xml(ElementTree.fromstring("<annotation/>")) == ""
    write_picture(tmp_path / "a.png")
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(DatasetError, match=r"annotations\.xml: CVAT's own XML\. Export the annotations as COCO"):
        read_source(tmp_path)
