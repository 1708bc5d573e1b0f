"""The page in a real browser: no complaint, every figure shown, tables sort, it fits a phone, dark is dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from report.chromium import BROWSER, Page
from report.chromium import page as opened
from report.evidence import crops, evidence
from smallsight.config.load import Config
from smallsight.report.history import History
from smallsight.report.html import render
from smallsight.report.under_strategy import under_strategy
from smallsight.run.given import Call
from smallsight.strategy.shipped import shipped_plan

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

WIDE_TABLES = (
    "Array.from(document.querySelectorAll('table.prose'))"
    ".filter(x => x.scrollWidth > x.parentElement.clientWidth).length"
)
SHOWN = "Array.from(document.querySelectorAll('{}')).filter(x => x.getBoundingClientRect().height < 8).length"
COLUMN = "Array.from(document.querySelectorAll('#epochs tbody tr')).map(row => Number(row.cells[{}].textContent))"
SMALLEST = (
    "Math.min(...Array.from(document.querySelectorAll('p, li, td')).map(x => parseFloat(getComputedStyle(x).fontSize)))"
)
BRIGHTNESS = (
    "Math.round(getComputedStyle(document.body).{}.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3)"
)


@pytest.fixture
def file(run: History, tmp_path: Path) -> Path:
    found = evidence()
    path = tmp_path / "report.html"
    path.write_text(render(run, found, crops(found)))
    return path


@pytest.fixture
def wide(file: Path, tmp_path: Path) -> Iterator[Page]:
    with opened(file, tmp_path / "profile") as page:
        yield page
        assert page.complaints == []


def test_figures_and_pictures_are_shown(wide: Page) -> None:
    assert wide.ask(SHOWN.format("svg.chart, svg.cell, svg.marks")) == 0
    assert wide.ask("document.querySelectorAll('.gallery image').length") == 24
    assert wide.ask(SHOWN.format(".gallery svg")) == 0


def test_tables_sort_both_ways(wide: Page) -> None:
    click = "document.querySelectorAll('#epochs th button')[{}].click()"
    assert wide.ask(COLUMN.format(0)) == list(range(1, 13))
    wide.ask(click.format(5))  # training loss falls with the epochs
    assert wide.ask(COLUMN.format(0)) == list(range(12, 0, -1))
    wide.ask(click.format(5))
    assert wide.ask(COLUMN.format(0)) == list(range(1, 13))
    assert wide.ask("document.querySelectorAll('#epochs th[aria-sort]').length") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(file: Path, tmp_path: Path, scheme: str) -> None:
    with opened(file, tmp_path / "profile", width=390, scheme=scheme) as page:
        assert page.ask("document.documentElement.scrollWidth") <= 390
        assert page.ask(SMALLEST) >= 12
        ground, ink = page.ask(BRIGHTNESS.format("backgroundColor")), page.ask(BRIGHTNESS.format("color"))
        assert ground > 240 > 60 > ink if scheme == "light" else ground < 40 < 200 < ink
        assert page.complaints == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_strategys_tables_fit(recorded: History, tmp_path: Path, width: int) -> None:
    config = Config.model_validate({"model": {"rfdetr_size": "base"}, "training": {"resolution": 1120}})
    call = Call(("smallsight", "train"), "configs/x.yaml", "models")
    history = under_strategy(recorded, shipped_plan(), config, call, "models/checkpoint.pth")
    file = tmp_path / "report.html"
    file.write_text(render(history))
    with opened(file, tmp_path / "profile", width=width) as page:
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert page.ask("document.querySelectorAll('table.prose').length") == 2
        assert page.ask(WIDE_TABLES) == 0
        assert page.ask(SMALLEST) >= 12
        assert page.complaints == []


def test_a_foreign_script_does_not_run(file: Path, tmp_path: Path) -> None:
    file.write_text(file.read_text().replace("</body>", "<script>document.title = 'taken'</script></body>"))
    with opened(file, tmp_path / "profile") as page:
        assert page.ask("document.title") != "taken"
        assert "Content Security Policy" in page.complaints[0]
