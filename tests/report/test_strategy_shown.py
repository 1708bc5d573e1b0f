"""The strategy document's report in every form: terminal, Markdown, page and JSON say the same."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from report.evidence import HOSTILE
from smallsight.config.load import Config
from smallsight.report.analysis import analyse
from smallsight.report.document import to_document
from smallsight.report.history import History
from smallsight.report.html import render
from smallsight.report.markdown import to_markdown
from smallsight.report.recorded_files import read_history
from smallsight.report.summary import print_summary
from smallsight.report.under_strategy import under_strategy
from smallsight.run.given import Call
from smallsight.strategy.plan import Plan
from smallsight.strategy.shipped import shipped_plan

CONFIG = Config.model_validate({"model": {"rfdetr_size": "base"}, "training": {"resolution": 1120}})


@pytest.fixture
def planned(recorded: History) -> History:
    call = Call(("smallsight", "train"), "x.yaml", "models")
    return under_strategy(recorded, shipped_plan(), CONFIG, call, "models/checkpoint.pth")


def printed(history: History, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_summary(console, history, analyse(history))
    return console.file.getvalue()  # type: ignore[attr-defined]


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_every_form_has_every_part(planned: History) -> None:
    for text in (printed(planned, 200), to_markdown(planned), render(planned)):
        for words in (
            "training.multi_scale is off",
            "--config x.yaml --output-dir models --resume models/checkpoint.pth training.resolution=1288",
            "0.67 to 0.69",
            "+0.07 to +0.09",
            "50-59",
            "Out of memory: batch_size 1 at the same images per step",
            "0.68 or more",
            "+0.071 in 19 epochs",
        ):
            assert words in text, words


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_terminal_breaks_no_word(planned: History, width: int) -> None:
    text = printed(planned, width)
    commands = [line for line in text.splitlines() if line.startswith("    smallsight train ")]
    assert len(commands) == 3, "a command stays one line, to be copied"
    assert max(len(line) for line in text.splitlines() if line not in commands) <= width
    assert {"phase_4_combined", "higher_resolution"} <= {word.rstrip(":") for word in text.split()}
    assert "multi_scale" in text and "0.67 to 0.69" in one_line(text)


def test_columns_in_which_nothing_stands_are_left_out(planned: History) -> None:
    text = printed(planned, 120)
    head = next(line for line in text.splitlines() if line.split()[:2] == ["phase", "planned"])
    assert head.split() == ["phase", "planned", "expected", "gain", "so", "far"]


def test_json_has_them_as_values(planned: History) -> None:
    found = to_document(planned, analyse(planned))["analysis"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    row = found["timeline"]["rows"][1]
    assert (row["phase"], row["first_epoch"], row["last_epoch"]) == ("multi_scale", 50, 59)
    assert [round(value, 3) for value in row["expected"]] == [0.668, 0.688]
    assert found["timeline"]["start"]["epoch"] == 39
    assert found["risks"][1]["level"] == "medium" and "batch_size 1" in found["risks"][1]["mitigation"]
    assert found["insights"][3]["command"].endswith("training.multi_scale=true training.epochs=49")
    assert found["opportunities"][0]["expected_gain"] == [0.03, 0.05]
    assert found["guard"]["absolute_floor"] == 0.68 and found["guard"]["above_absolute"] is True
    assert [metric["name"] for metric in found["key_metrics"]] == ["map_small", "improvement rate", "map_50_95"]
    assert found["progress"].startswith("+0.071 in 19 epochs")


def test_a_strategy_without_expectations_has_risks_and_no_timeline(planned: History) -> None:
    plan = Plan.model_validate({"phases": [{"name": "a", "mitigation": "Look out."}]})
    history = under_strategy(planned, plan, CONFIG, Call(("x",), "y", "z"), "c")
    for text in (printed(history, 100), to_markdown(history), render(history)):
        assert "Look out." in text and "imeline" not in text


def test_hostile_words_of_a_strategy_stay_words(recorded: History) -> None:
    plan = Plan.model_validate({"phases": [{"name": "a", "title": HOSTILE, "mitigation": HOSTILE, "epochs": 1}]})
    history = under_strategy(recorded, plan, CONFIG, Call((HOSTILE,), HOSTILE, "o"), HOSTILE)
    page, short = render(history), to_markdown(history)
    assert page.count("<script") == 1 and "\x1b" not in page + short
    assert "<script>" not in re.sub("`[^`]*`", "", short.replace("\\<", ""))
    rows = [line for line in short.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") in (4, 5) for line in rows)


def test_what_the_document_says_is_not_asked_for_twice(planned: History) -> None:
    """An opportunity takes the place of the same setting among the issues and the steps."""
    found = analyse(planned)
    spoken_of = {key for opportunity in found.opportunities for key in opportunity.settings}
    assert not spoken_of & {issue.key for issue in found.open_issues}
    assert "training.multi_scale" in {issue.key for issue in found.issues}
    assert not any(advice.startswith("training.multi_scale") for advice in found.recommendations)


def test_a_metric_that_stands_in_keeps_its_place(tmp_path: Path) -> None:
    """A file of another tool without the target metric has no timeline of it."""
    file = tmp_path / "results.csv"
    file.write_text("epoch,metrics/mAP50(B),metrics/mAP50-95(B)\n1,0.5,0.3\n2,0.6,0.35\n")
    history = under_strategy(read_history(file), shipped_plan(), CONFIG, Call(("x",), "y", "z"), "c")
    assert history.target.metric == "map_50_95" and history.target.unknown_metric == "map_small"
    found = analyse(history)
    assert found.timeline is None and found.latest is not None and found.latest.value.value == 0.35
    assert "conclusion" not in [insight.topic for insight in found.insights]
