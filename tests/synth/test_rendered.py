"""The renderer's mark: it is found, and it goes where the frames go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders import ANNOTATIONS, write_annotations, write_coco_folder
from smallsight.data.convert import ConvertOptions, convert
from smallsight.data.split import SplitOptions, split
from smallsight.synth.dataset import SynthOptions, write_dataset
from smallsight.synth.rendered import rendered_share

OPTIONS = SynthOptions(images=8, size_wh=(160, 90), splits=(0.5, 0.25, 0.25))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "set"
    write_dataset(folder, OPTIONS)
    return folder


def test_rendered_frames_carry_the_mark(rendered: Path) -> None:
    assert [rendered_share(rendered / name) for name in ("train", "valid", "test")] == [1.0, 1.0, 1.0]


def test_other_frames_do_not(tmp_path: Path) -> None:
    write_coco_folder(tmp_path / "real", 3)
    assert rendered_share(tmp_path / "real") == 0.0


def test_the_mark_outlives_split_and_convert(rendered: Path, tmp_path: Path) -> None:
    split(rendered, tmp_path / "split", SplitOptions())
    convert([rendered], tmp_path / "converted", ConvertOptions())
    for folder in (tmp_path / "split" / "valid", tmp_path / "converted" / "valid"):
        assert rendered_share(folder) == 1.0


def test_frames_that_were_put_together_are_counted(rendered: Path, tmp_path: Path) -> None:
    content = json.loads((rendered / "valid" / ANNOTATIONS).read_text())
    del content["info"]
    others = [{"id": 100 + index, "file_name": "x.jpg"} for index in range(3 * len(content["images"]))]
    tmp_path.joinpath("mixed").mkdir()
    write_annotations(tmp_path / "mixed", {**content, "images": [*content["images"], *others]})
    assert rendered_share(tmp_path / "mixed") == 0.25


def test_sets_that_were_written_before_there_was_a_mark_of_each_image(tmp_path: Path) -> None:
    content = write_coco_folder(tmp_path / "old", 3)
    write_annotations(tmp_path / "old", {**content, "info": {"description": "smallsight synth, seed 7"}})
    assert rendered_share(tmp_path / "old") == 1.0


@pytest.mark.parametrize(
    "content", [{}, [], {"images": []}, {"images": 5}, {"images": [5]}, {"info": [], "images": [{}]}]
)
def test_what_can_t_be_read_carries_no_mark(tmp_path: Path, content: object) -> None:
    write_annotations(tmp_path, content)
    assert rendered_share(tmp_path) == 0.0
    assert rendered_share(tmp_path / "nowhere") == 0.0
