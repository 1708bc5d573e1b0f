"""The page: whole, well-formed, safe with any name, and what it leaves out it says."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from report.evidence import HOSTILE, crops, evidence
from smallsight.records import Decision, EpochRecord, Estimate
from smallsight.report.history import History, PhaseMemory, PhaseStory
from smallsight.report.html import render
from smallsight.report.recorded_files import read_history

VOID = {"meta", "link", "br"}
MOST_BYTES = 3_000_000


class Reader(HTMLParser):
    """Elements in the order they open and close; complains where they don't nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.handlers: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attributes:
            if name == "id":
                self.ids.append(str(value))
            if name in ("href", "src", "action", "xlink:href"):
                self.links.append(str(value))
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element, line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def page(run: History) -> str:
    found = evidence()
    return render(run, found, crops(found))


def hostile(run: History) -> History:
    """Every word that comes from data is one that would do harm."""
    phases = tuple(
        dataclasses.replace(p, title=HOSTILE, reason=HOSTILE, settings={HOSTILE: HOSTILE}) for p in run.phases
    )
    return dataclasses.replace(
        run,
        source=HOSTILE,
        champion_path=HOSTILE,
        phases=(*phases, PhaseStory(HOSTILE, HOSTILE, 0, 0, "skipped", None, None, HOSTILE)),
        decisions=(Decision("run", HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, 3), Decision("stop", HOSTILE)),
        records=tuple(dataclasses.replace(r, phase=HOSTILE) if r.epoch > 6 else r for r in run.records),
    )


def test_it_has_all_parts_in_order_and_is_one_file(page: str) -> None:
    reader = read(page)
    assert reader.ids == [
        *("reached", "phases", "curves", "decisions", "mistakes", "elsewhere", "gallery", "settings", "epochs")
    ]
    assert page.index("<h1>") < page.index('id="reached"')
    assert len(page.encode()) < MOST_BYTES
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert not re.search(r"https?://|@import|url\(", page)
    assert reader.scripts == 1


def test_what_to_do_comes_first_and_the_lift_has_its_interval(page: str) -> None:
    words = " ".join(read(page).words)
    headline = re.search(r"<h1>(.*?)</h1>", page)
    assert headline is not None
    assert headline[1].startswith("Change the data or the strategy, which has come to its end: map_small is 0.560 [0.4")
    assert "+0.060" in words and "[+0.020, +0.100]" in words
    assert "nothing is left to try" in words


def test_only_its_own_script_may_run(page: str) -> None:
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert script is not None and policy is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none';")


def test_hostile_names_stay_words(run: History) -> None:
    found = evidence()
    page = render(hostile(run), found, crops(found))
    reader = read(page)
    assert reader.scripts == 1 and reader.handlers == []
    assert "\x1b" not in page
    assert HOSTILE.replace("\x1b", "\\x1b") in "".join(reader.words)


def test_figures_are_well_formed_and_have_a_name(page: str) -> None:
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) > 30
    for figure in figures:
        assert ElementTree.fromstring(figure).get("aria-label")
        assert "nan" not in figure and "inf" not in figure


def test_a_recorded_file_of_few_keys_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "epochs.json"
    file.write_text('{"metrics": {"3": {"map_small": 0.5}}}')
    reader = read(render(read_history(file)))
    assert reader.ids == ["reached", "curves", "settings", "epochs"]
    assert "no strategy led these epochs" in "".join(reader.words)


@pytest.mark.parametrize("metrics", [{}, {"map_small": Estimate(math.nan)}])
def test_no_known_value_is_no_error(metrics: dict[str, Estimate]) -> None:
    records = (EpochRecord(1, "a", 1, metrics), EpochRecord(2, "a", 1, metrics)) if metrics else ()
    assert "No epoch is recorded yet." in render(History("x", records))


def test_pictures_that_are_missing_are_left_out(run: History) -> None:
    found = evidence()
    some = dict(list(crops(found).items())[:3])
    assert render(run, found, some).count("data:image/jpeg") == 3
    assert 'id="gallery"' not in render(run, found)


def test_settings_of_phases_are_told_from_the_configured_ones(run: History) -> None:
    first, second = run.phases
    changed = dataclasses.replace(second, settings={"training.multi_scale": True})
    page = render(dataclasses.replace(run, phases=(first, changed)))
    row = re.search(r"<code>training.multi_scale</code></td>(.*?)</tr>", page)
    assert row is not None and row[1] == '<td>false</td><td>false</td><td class="changed">true</td>'


def test_memory_is_drawn_against_its_limit(run: History) -> None:
    first, second = run.phases
    phases = (
        dataclasses.replace(first, memory=PhaseMemory(900.0, 1000.0, 8000.0), notes=("in float32 on cpu",)),
        dataclasses.replace(second, memory=PhaseMemory(limit_mb=math.inf)),
    )
    records = tuple(dataclasses.replace(record, peak_memory_mb=1000.0) for record in run.records)
    page = render(dataclasses.replace(run, phases=phases, records=records))
    figure = re.search(r"<h3>Memory, GB</h3>.*?</figure>", page, re.DOTALL)
    assert figure is not None
    for words in (
        "peak <b>1</b>",
        "expected before <b>0.9</b>",
        "limit <b>8</b>",
        "Memory: at most 1.00 GB",
    ):
        assert words in figure[0]
    assert "in float32 on cpu" in page and "inf" not in figure[0]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"finished": True}, "finished"),
        ({"finished": False}, "not finished"),
        ({"stopped": "interrupted"}, "interrupted"),
    ],
)
def test_the_top_says_where_the_run_stands(run: History, changes: dict[str, Any], word: str) -> None:
    page = render(dataclasses.replace(run, **{"finished": False, **changes}))
    assert f"<span>{word}</span>" in page[: page.index("<h1>")]


def test_long_histories_stay_small(run: History) -> None:
    records = tuple(dataclasses.replace(run.records[0], epoch=epoch) for epoch in range(1, 2001))
    assert len(render(dataclasses.replace(run, records=records)).encode()) < MOST_BYTES
