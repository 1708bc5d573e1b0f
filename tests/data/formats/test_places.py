"""Which file a name means, in a table of names, and that nothing else is ever taken for it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.data.formats.places import Files, LeadsOut, NotThere, Places, hints_of
from smallsight.errors import DatasetError

FILES = (
    "images/a.png",
    "images/B.JPG",
    "images/\u00e9t\u00e9.png",
    "train/images/0001.jpg",
    "valid/images/0001.jpg",
    "m1/0007.png",
    "m2/0008.png",
    "odd\\name.png",
    "label.txt",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set; beside it lies an image that no name may reach."""
    top = tmp_path_factory.mktemp("places")
    for name in ("secret.png", *(f"set/{name}" for name in FILES)):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")
    return top / "set"


def places(root: Path, *hints: str, folder: str = ".") -> Places:
    return Places(root / folder, Files(root), hints_of(hints))


@pytest.mark.parametrize(
    ("name", "found", "how"),
    [
        ("images/a.png", "images/a.png", None),
        ("./images//a.png", "images/a.png", None),
        ("odd\\name.png", "odd\\name.png", None),  # a literal name comes first
        ("images\\a.png", "images/a.png", "slashes"),
        (".\\images\\a.png", "images/a.png", "slashes"),
        ("images/A.PNG", "images/a.png", "case"),
        ("Images\\b.jpg", "images/B.JPG", "case"),
        (unicodedata.normalize("NFD", "images/\u00e9t\u00e9.png"), "images/\u00e9t\u00e9.png", "case"),
        ("a.png", "images/a.png", "elsewhere"),
        ("/home/someone/set/images/a.png", "images/a.png", "elsewhere"),
        ("C:\\Users\\x\\images\\a.png", "images/a.png", "elsewhere"),
        ("\\\\host\\share\\a.png", "images/a.png", "elsewhere"),
        ("../elsewhere/images/a.png", "images/a.png", "elsewhere"),
        ("pictures/a.png", "images/a.png", "elsewhere"),  # there is no such folder here
        ("x/train/images/0001.jpg", "train/images/0001.jpg", "elsewhere"),
    ],
)
def test_a_name_and_its_file(root: Path, name: str, found: str, how: str | None) -> None:
    finder = places(root)
    assert finder.find(name) == root / found
    assert list(finder.counts) == ([how] if how else [])
    assert len(finder.notes()) == len(finder.counts)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("gone.png", NotThere, "no file"),
        ("images/a.jpg", NotThere, "images/a.png is there, with another suffix"),
        ("m1/0008.png", NotThere, "no file"),  # the folder is here, the image is not: another match's is another image
        ("label.txt.png", NotThere, "no file"),
        ("images", NotThere, "no file"),
        *(
            (name, NotThere, "no file")
            for name in (".", "", "a\\", "..\\secret.png", "C:", "C:\\", "%2e%2e/secret.png")
        ),
        ("../secret.png", LeadsOut, "leads out of the folder"),
        ("/etc/passwd", LeadsOut, "leads out of the folder"),
        ("..", LeadsOut, "leads out of the folder"),
        ("0001.jpg", DatasetError, "may be train/images/0001.jpg or valid/images/0001.jpg"),
        ("images/0001.jpg", DatasetError, "may be train/images/0001.jpg or valid/images/0001.jpg"),
        ("a\0.png", DatasetError, "can't be looked up"),
        ("x" * 5000, DatasetError, "can't be looked up"),
    ],
)
def test_a_name_without_a_file(root: Path, name: str, kind: type[DatasetError], said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        places(root).find(name)
    assert type(caught.value) is kind
    assert said in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize(("hint", "found"), [("Train", "train"), ("val", "valid"), ("validation", "valid")])
def test_the_split_tells_files_of_one_name_apart(root: Path, hint: str, found: str) -> None:
    assert places(root, hint).find("0001.jpg") == root / found / "images" / "0001.jpg"


def test_names_start_at_the_folder_and_end_in_the_source(root: Path) -> None:
    finder = places(root, folder="train")
    assert finder.find("images/0001.jpg") == root / "train/images/0001.jpg"
    assert finder.find("../images/a.png") == root / "train/../images/a.png"
    assert not finder.counts
    assert finder.find("a.png") == root / "images/a.png"


def test_notes_count_and_give_an_example(root: Path) -> None:
    finder = places(root)
    for name in ("images\\a.png", "images\\a.png", "a.png"):
        finder.find(name)
    assert finder.notes() == (
        "1 image lies elsewhere than its name says and was found by name (a.png is images/a.png, for example).",
        "2 names have backslashes and are read with slashes (images\\a.png is images/a.png, for example).",
    )


def test_links_out_of_the_source_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").symlink_to(root / "images" / "a.png")
    (tmp_path / "set" / "more").symlink_to(root / "images")
    finder = places(tmp_path / "set")
    for name in ("a.png", "x/a.png", "B.JPG"):
        with pytest.raises(NotThere):
            finder.find(name)


@given(st.text(alphabet="am01./\\:C\u00e9 ", max_size=20))
def test_what_is_found_lies_in_the_source(root: Path, name: str) -> None:
    try:
        found = places(root).find(name)
    except DatasetError:
        return
    assert found.is_file() and found.resolve().is_relative_to(root.resolve())
