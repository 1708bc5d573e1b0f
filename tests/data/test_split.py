"""Splits by group: none in two, all images once, the same for the same seed, close to what was asked."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from builders import write_annotations, write_coco_folder
from smallsight.data.coco import read_coco
from smallsight.data.formats.labelled_set import LabelledBox, LabelledImage
from smallsight.data.groups import groups_of
from smallsight.data.split import SplitOptions, assign, image_counts, parse_shares, split
from smallsight.errors import DatasetError

SHARES = [0.7, 0.15, 0.15]


def images_of(folder: Path) -> dict[str, list[str]]:
    return {part.name: [image.path.name for image in read_coco(part).images] for part in sorted(folder.iterdir())}


groups = st.lists(st.sampled_from([f"match_{n}" for n in range(12)]), min_size=3, max_size=80)


@given(names=groups, seed=st.integers(0, 5), data=st.data())
def test_no_group_is_torn_and_the_order_does_not_count(names: list[str], seed: int, data: st.DataObject) -> None:
    generator = np.random.default_rng(len(names))
    counts = np.column_stack([np.ones(len(names)), generator.integers(0, 4, (len(names), 5))])
    found = assign(names, counts, SHARES, seed)
    if len(set(names)) < 3:
        assert found is None
        return
    assert found is not None
    assert len(found) == len(names)
    assert len(set(zip(names, found, strict=True))) == len(set(names))  # one split per group
    assert set(found) == {0, 1, 2}
    order = data.draw(st.permutations(range(len(names))))
    shuffled = assign([names[i] for i in order], counts[order], SHARES, seed)
    assert shuffled == [found[i] for i in order]


@given(
    sizes=st.lists(st.integers(1, 3), min_size=60, max_size=120),
    train=st.floats(0.4, 0.8),
    seed=st.integers(0, 3),
)
def test_shares_are_met_when_groups_are_small(sizes: list[int], train: float, seed: int) -> None:
    shares = [train, (1 - train) / 2, (1 - train) / 2]
    names = [f"clip_{number}" for number, size in enumerate(sizes) for _ in range(size)]
    found = assign(names, np.ones((len(names), 1)), shares, seed)
    assert found is not None
    got = np.bincount(found, minlength=3) / len(found)
    assert np.abs(got - shares).max() < 0.03


def test_sizes_are_balanced_too() -> None:
    """Half of the groups hold tiny objects, half large ones: each split gets its share of both."""
    names = [f"clip_{number:02d}" for number in range(40) for _ in range(5)]
    tiny = np.array([number % 2 for number in range(40) for _ in range(5)], dtype=np.float64)
    found = assign(names, np.column_stack([np.ones(200), tiny, 1 - tiny]), [0.5, 0.3, 0.2], 0)
    got = np.bincount(found, weights=tiny) / tiny.sum()
    assert np.abs(got - [0.5, 0.3, 0.2]).max() <= 0.05


def test_the_seed_counts() -> None:
    names = [f"clip_{number}" for number in range(30)]
    answers = {tuple(assign(names, np.ones((30, 1)), SHARES, seed) or ()) for seed in range(5)}
    assert len(answers) > 1


@pytest.mark.parametrize(
    ("side", "column"), [(7.99, 2), (8, 3), (15.9, 3), (16, 4), (31.9, 4), (32, 5), (300, 5), (None, 1)]
)
def test_size_bins(side: float | None, column: int) -> None:
    boxes = () if side is None else (LabelledBox("ball", (0, 0, side, side), side * side),)
    ignored = LabelledBox("ball", (0, 0, 4, 4), 16, ignored=True)
    expected = [1, 0, 0, 0, 0, 0]
    expected[column] = 1
    assert list(image_counts(LabelledImage(Path("a"), "a", (500, 500), (*boxes, ignored)))) == expected


def test_a_folder_is_split(tmp_path: Path) -> None:
    write_coco_folder(tmp_path / "in", 20, frames_per_clip=2, empty_every=5)
    result = split(tmp_path / "in", tmp_path / "out", SplitOptions(shares=(0.6, 0.2, 0.2)))
    parts = {name: read_coco(tmp_path / "out" / name) for name in ("train", "valid", "test")}
    assert [len(part) for part in parts.values()] == [12, 4, 4]
    assert sorted(name for names in images_of(tmp_path / "out").values() for name in names) == [
        f"frame_{n:03d}.jpg" for n in range(20)
    ]
    clips = [set(groups_of(part)) for part in parts.values()]
    assert sum(map(len, clips)) == len(set.union(*clips)) == 10
    lines = result.lines()
    assert lines[0].split()[:5] == ["split", "groups", "share", "asked", "images"]
    assert lines[1].split()[:5] == ["train", "6", "60.0%", "60.0%", "12"]
    assert "'clip'" in lines[-1]
    again = split(tmp_path / "in", tmp_path / "again", SplitOptions(shares=(0.6, 0.2, 0.2)))
    assert images_of(tmp_path / "again") == images_of(tmp_path / "out")
    assert again.lines() == lines


def test_the_order_of_the_file_does_not_count(tmp_path: Path) -> None:
    content = write_coco_folder(tmp_path / "in", 20, frames_per_clip=2)
    split(tmp_path / "in", tmp_path / "one")
    content["images"].reverse()
    content["annotations"].reverse()
    write_annotations(tmp_path / "in", content)
    split(tmp_path / "in", tmp_path / "two")
    assert images_of(tmp_path / "one") == images_of(tmp_path / "two")


def test_splits_that_are_there_are_put_together(tmp_path: Path) -> None:
    """The same name in two splits are two images; both arrive."""
    for seed, name in enumerate(("train", "valid")):
        write_coco_folder(tmp_path / "in" / name, 10, frames_per_clip=1, seed=seed)
    split(tmp_path / "in", tmp_path / "out", SplitOptions(shares=(0.5, 0.5, 0)))
    found = images_of(tmp_path / "out")
    assert sorted(found) == ["train", "valid"]
    assert sum(map(len, found.values())) == 20


def test_groups_can_be_given(tmp_path: Path) -> None:
    content = write_coco_folder(tmp_path / "in", 12)
    for image in content["images"]:
        image["half"] = image["id"] % 3
    write_annotations(tmp_path / "in", content)
    by_column = split(tmp_path / "in", tmp_path / "a", SplitOptions(column="half"))
    assert sorted(group for names in by_column.groups.values() for group in names) == ["0", "1", "2"]
    by_pattern = split(tmp_path / "in", tmp_path / "b", SplitOptions(pattern=r"_\d(\d)\d", shares=(0.8, 0.2, 0)))
    assert by_pattern.groups == {"train": ("0",), "valid": ("1",)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            SplitOptions(shares=(0.7, 0.2, 0.2)),
            "--shares: got 0.7, 0.2, 0.2, expected shares of 0 or more that sum to 1",
        ),
        (SplitOptions(shares=(1.2, -0.2, 0)), "--shares"),
        (SplitOptions(shares=(float("nan"), 0.5, 0.5)), "--shares"),
        (SplitOptions(), "in: 2 groups for 3 splits, found by the column 'clip'"),
        (SplitOptions(pattern="x"), "finds no group"),
        (SplitOptions(column="match"), "has no 'match'"),
    ],
)
def test_wrong_requests(tmp_path: Path, options: SplitOptions, said: str) -> None:
    write_coco_folder(tmp_path / "in", 4, frames_per_clip=2)
    with pytest.raises(DatasetError) as caught:
        split(tmp_path / "in", tmp_path / "out", options)
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "0.5", "0.5,0.5", "a,b,c", "0.5,0.3,0.1,0.1"])
def test_wrong_shares(text: str) -> None:
    with pytest.raises(DatasetError, match="--shares"):
        parse_shares(text)
    assert parse_shares("0.8, 0.1,0.1") == (0.8, 0.1, 0.1)
