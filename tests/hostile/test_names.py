"""File names and words from data: nothing outside of the folder is read, nothing is taken for markup or an escape."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from builders import ANNOTATIONS, write_coco_folder
from smallsight import cli
from smallsight.data.coco import read_coco
from smallsight.data.convert import convert
from smallsight.data.formats.folder_files import files_in
from smallsight.data.sources import read_source
from smallsight.errors import ConfigError, DatasetError, SmallsightError, visible

EVIL = "\x1b[31m[bold]<script>alert(1)</script>\u202e\n\udcff"
SHOWN = "\\x1b[31m[bold]<script>alert(1)</script>\\u202e\\n\\udcff"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set in a folder, and a file of the same kind beside it that nobody may read."""
    write_coco_folder(tmp_path / "set", 2, (40, 30), suffix=".png")
    (tmp_path / "secret.png").write_bytes((tmp_path / "set" / "frame_000.png").read_bytes())
    return tmp_path / "set"


def rename(folder: Path, name: str) -> None:
    path = folder / ANNOTATIONS
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))


OUTSIDE = [
    *("../secret.png", "a/../../secret.png", "./.././secret.png", "/etc/passwd", "{root}/secret.png", "//etc/passwd"),
    *("..\\secret.png", "C:\\secret.png", "\\\\host\\secret.png", "%2e%2e%2fsecret.png", "..%2fsecret.png"),
    *(
        "..\u2215secret.png",
        "file:///etc/passwd",
        "http://127.0.0.1/a.png",
        "~/secret.png",
        "$HOME/secret.png",
        "..",
        ".",
    ),
    *(
        "frame_000.png\0.jpg",
        "\0",
        "a" * 300,
        "a/" * 3000,
        "\udcff",
        "\ud800",
        "/",
    ),
    *("/dev/stdin", "/dev/zero", "/proc/self/environ"),
]


@pytest.mark.parametrize("name", OUTSIDE, ids=lambda name: ascii(name)[:40])
def test_a_name_that_is_no_file_in_the_folder_is_refused(folder: Path, name: str) -> None:
    rename(folder, name.replace("{root}", str(folder.parent)))
    for read in (read_coco, lambda path: read_source(path, "coco")):
        with pytest.raises(DatasetError, match=r"image 1: (file_name|no file)") as caught:
            read(folder)
        assert str(caught.value).isprintable()


def link_file(folder: Path) -> None:
    (folder / "frame_000.png").unlink()
    (folder / "frame_000.png").symlink_to(folder.parent / "secret.png")


def link_folder(folder: Path) -> None:
    (folder / "more").symlink_to(folder.parent)
    rename(folder, "more/secret.png")


def link_to(target: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / "frame_000.png").unlink()
        (folder / "frame_000.png").symlink_to(target)

    return act


def pipe(folder: Path) -> None:
    (folder / "frame_000.png").unlink()
    os.mkfifo(folder / "frame_000.png")


@pytest.mark.parametrize(
    "act", [link_file, link_folder, link_to("/dev/zero"), link_to("frame_000.png"), link_to("/etc/passwd"), pipe]
)
def test_links_that_lead_out_and_files_without_end(folder: Path, act: Callable[[Path], None]) -> None:
    act(folder)
    with pytest.raises(DatasetError, match="image 1: "):
        read_coco(folder)
    (folder / ANNOTATIONS).unlink()
    (folder / "frame_000.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (folder / "frame_001.txt").write_text("")
    with pytest.raises(DatasetError):
        read_source(folder, "yolo")


def test_a_link_that_the_user_names_is_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert len(read_coco(tmp_path / "link")) == 2


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "frame_000.png").rename(folder / "first.png")
    (folder / "frame_000.png").symlink_to("first.png")
    assert len(read_coco(folder)) == 2


@pytest.mark.parametrize("name", ["frame_000.txt", "classes.txt", "data.yaml", "train.txt"])
def test_a_pipe_among_the_labels(folder: Path, name: str) -> None:
    (folder / ANNOTATIONS).unlink()
    (folder / "frame_001.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    os.mkfifo(folder / name)
    try:
        read_source(folder, "yolo")
    except DatasetError as error:
        assert f"{name}: neither a file nor a folder" in str(error)


def test_folders_in_each_other_without_end(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(60):
        deep = deep / "a"
    deep.mkdir(parents=True)
    with pytest.raises(DatasetError, match="more than 50 folders in each other"):
        files_in(tmp_path, tmp_path, (".png",))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("names: {.inf: ball}", "is no class index of its own"),
        ("names: {.nan: ball}", "is no class index of its own"),
        (f"names: [ball]\nval: {'a' * 5000}", "can't be looked up"),
        ('names: [ball]\nval: "a\\0b"', "no file or folder"),
        ("names: [ball]\nval: ../..", "leads out of"),
        ("names: [ball]\nval: /", "leads out of"),
        ("names: [ball]\nval: {a: b}", "expected a path or a list"),
        ("names: [ball]\nval: train.txt", "'/etc/passwd': leads out|/etc/passwd"),
        ('names: ["a\\nb"]\nval: .', "the class name 'a\\\\nb' can't be written"),
        ('names: ["\\ud800"]\nval: .', "can't be written"),
    ],
)
def test_descriptions(folder: Path, key: str, reason: str) -> None:
    (folder / "data.yaml").write_text(key)
    (folder / "train.txt").write_text("/etc/passwd\n")
    (folder / "frame_000.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DatasetError, match=reason) as caught:
        read_source(folder / "data.yaml", "yolo")
    assert str(caught.value).isprintable()


def test_a_folder_that_is_named_very_often_is_read_once(folder: Path) -> None:
    (folder / "frame_000.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (folder / "data.yaml").write_text(f"names: [ball]\nval: [{'., ' * 5000}./.]\n")
    assert len(read_source(folder / "data.yaml", "yolo")) == 2


# Words


def test_every_message_is_one_printable_line() -> None:
    error = ConfigError(f"run.yaml: {EVIL}: unknown key.")
    assert str(error) == f"run.yaml: {SHOWN}: unknown key."
    assert isinstance(error, SmallsightError) and visible(str(error)) == str(error)


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["smallsight", *map(str, arguments)])
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capsys.readouterr()
    assert (out + err).replace("\n", "").isprintable()
    return out + err


def test_names_are_printed_as_they_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where they are no text that a terminal takes."""
    content = json.loads((folder / ANNOTATIONS).read_text())
    content["categories"][0]["name"] = EVIL
    (folder / ANNOTATIONS).write_text(json.dumps(content))
    assert SHOWN in said(monkeypatch, capsys, "doctor", folder, "--html", tmp_path / "page.html")
    assert "<script>" not in (tmp_path / "page.html").read_text()
    text = said(monkeypatch, capsys, "convert", folder, tmp_path / "out", "--rename", f"nothing={EVIL[:8]}")
    assert "can't be written" in text
    rename(folder, EVIL)
    text = said(monkeypatch, capsys, "convert", folder, tmp_path / "out")
    assert "Error: " in text and "[bold]<script>" in text


def test_class_names_that_are_markup_are_printed_as_they_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((folder / ANNOTATIONS).read_text())
    content["categories"][0]["name"] = "[bold red]ball[/]"
    (folder / ANNOTATIONS).write_text(json.dumps(content))
    assert "2 [bold red]ball[/]" in said(monkeypatch, capsys, "convert", folder, tmp_path / "out", "--to", "yolo")
    assert convert([tmp_path / "out"], tmp_path / "again").objects[""] == {"[bold red]ball[/]": 2}
