from __future__ import annotations

import base64
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from builders import write_annotations, write_coco_folder
from doctor.planted import read
from smallsight.doctor.examine import Examination, Options, examine
from smallsight.doctor.page import MOST_PICTURES, PICTURE_PX, render, write_page
from smallsight.doctor.text import print_examination, show
from smallsight.errors import InputError

EVIL = "<script>alert('x')</script>&[red]\x1b[31m.jpg".replace("/", "\u2215")


@pytest.fixture(scope="module")
def ill(tmp_path_factory: pytest.TempPathFactory) -> Examination:
    """An examination whose names try to become markup, with more faults than a page shows."""
    root = tmp_path_factory.mktemp("ill")
    for seed, split in enumerate(("train", "valid")):
        write_coco_folder(root / split, 40, ball_px=(6.0, 7.0), seed=seed)
    content = read(root)
    (root / "train" / "frame_000.jpg").rename(root / "train" / EVIL)
    content["images"][0]["file_name"] = EVIL
    content["categories"][0]["name"] = "<b>ball</b>"
    for item in content["annotations"]:
        item["area"] = 9000
    content["annotations"] += [{**item, "id": item["id"] + 100} for item in content["annotations"]]
    write_annotations(root / "train", content)
    return examine(root, Options(workers=1, resolution=96))


class Tags(HTMLParser):
    """All tags and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_names_from_data_stay_text(ill: Examination) -> None:
    page = Tags(render(ill))
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "&lt;script&gt;" in render(ill)
    assert "\x1b" not in render(ill)
    assert page.open == []


def test_the_page_needs_no_network(ill: Examination) -> None:
    page = render(ill)
    assert all(address.startswith("data:image/jpeg;base64,") for address in Tags(page).addresses)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page


def test_pictures_show_the_box_and_are_limited(ill: Examination) -> None:
    assert 4 <= len(Tags(render(ill)).addresses) <= MOST_PICTURES
    found = re.search(r'alt="train/[^"]*annotation 2" src="data:image/jpeg;base64,([^"]+)"', render(ill))
    assert found is not None
    data = base64.b64decode(found[1])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert max(image.shape) == PICTURE_PX
    assert np.any((image[..., 2] > 180) & (image[..., 1] < 120)), "no red box"


def test_the_page_is_written_whole_or_not_at_all(ill: Examination, tmp_path: Path) -> None:
    write_page(tmp_path / "new" / "page.html", ill)
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == render(ill)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


@pytest.mark.parametrize("width", [40, 60, 120])
def test_the_terminal_shows_all_within_its_width(ill: Examination, width: int) -> None:
    stream = io.StringIO()
    print_examination(Console(file=stream, width=width, force_terminal=True, color_system=None), ill, Path("p.html"))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    said = ("Area that does not fit the box (80)", "and 77 more", "[red]", "Use the resolution", "Not seen", "p.html")
    assert [words for words in said if "".join(words.split()) not in "".join(text.split())] == []
    assert ("<8" in text) == (width >= 60)  # the shares are in the findings, too
    assert re.search(r"^  train +<b>ball</b> +80 ", text, re.MULTILINE)
    assert "\x1b" not in text


def test_without_a_terminal_a_finding_is_one_plain_line(ill: Examination) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=60)
    print_examination(console, ill)
    lines = [line for line in stream.getvalue().splitlines() if "area 9000" in line]
    assert len(lines) == 3
    assert all(line.startswith("  train/") and "the box has" in line for line in lines)


def test_every_kind_of_finding_reaches_the_json(ill: Examination) -> None:
    content = json.loads(json.dumps(ill.to_json()))
    assert sum(group["count"] for group in content["findings"]) == len(ill.findings)
    assert html.escape(content["recommendation"]["sentence"]) in render(ill)


def test_showing_prints_one_json_document_and_writes_the_page(
    ill: Examination, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "doctor.html"
    show(Path(ill.root), Options(workers=1, resolution=96), page, as_json=True)
    out, _ = capsys.readouterr()
    assert json.loads(out) == json.loads(json.dumps(ill.to_json()))
    assert page.read_text(encoding="utf-8") == render(ill)


def test_a_page_that_can_not_be_written_is_one_message(ill: Examination, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        show(Path(ill.root), Options(workers=1), tmp_path / "file" / "page.html", as_json=True)
