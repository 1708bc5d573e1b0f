"""The lift on the exam stands first in every report, and what it means is said."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from report.evidence import HOSTILE, evidence
from smallsight.evaluation.evidence import Evidence
from smallsight.records import Estimate
from smallsight.report.analysis import analyse
from smallsight.report.document import to_document
from smallsight.report.exam import NO_EXAM, exam_in_words, exam_lines, lifts_of
from smallsight.report.history import History
from smallsight.report.html import render
from smallsight.report.markdown import to_markdown
from smallsight.report.summary import print_summary
from smallsight.run.exam import Examined, ExamLook, ExamSet
from smallsight.run.folder import RunFolder
from smallsight.run.foreign_files import is_ours

SET = ExamSet("data/test", "f" * 64, 60)
LOOK = ExamLook(
    SET,
    Examined(1, 1, 0, "a", {"map_small": Estimate(0.5, 0.4, 0.6, 58)}),
    Examined(2, 1, 6, "b", {"map_small": Estimate(0.53, 0.43, 0.63, 58)}),
    {"map_small": Estimate(0.03, 0.0, 0.07, 58), "map_50_95": Estimate(0.01, -0.01, 0.02, 90)},
    "60 images in 12 clips",
)
FIRST = "Lift on the exam: map_small +0.030 [+0.000, +0.070], n=58"


def looked_at(run: History, times: int = 1, **changed: Any) -> History:
    return replace(run, exam=SET, exam_look=replace(LOOK, **changed), exam_looks=times)


def terminal(history: History, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_summary(console, history, analyse(history), None, evidence())
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_lines_in_their_order(run: History) -> None:
    assert exam_lines(looked_at(run), evidence()) == (
        f"{FIRST}, from 0.500 to 0.530 over 60 images in 12 clips that no decision has seen.",
        "Lift on the validation set: map_small +0.060 [+0.020, +0.100], n=40, on the images that also decided.",
        "Optimism, validation minus exam: +0.030 [-0.027, +0.080]. Chance can explain that: on so many images it can't "
        "be told whether the validation lift is too high.",
        "Guard on the exam: map_50_95 +0.010 [-0.010, +0.020], n=90.",
        "The exam was looked at once; from the second look on it is not unseen any more.",
    )


def test_it_stands_first_everywhere(run: History) -> None:
    history = looked_at(run)
    assert terminal(history).startswith(FIRST)
    text = to_markdown(history, evidence())
    assert text.startswith(f"- {FIRST.replace('_', chr(92) + '_')}") or text.startswith(f"- {FIRST}")
    page = render(history, evidence())
    assert page.index(FIRST) < page.index("<h1>") < page.index("<dt>Lift on the exam</dt>")
    facts = [page.index(f"<dt>{name}</dt>") for name in ("Lift on the exam", "Lift on the validation set", "Optimism")]
    assert facts == sorted(facts) and facts[-1] < page.index("<dt>Champion, map_small</dt>")
    assert list(to_document(history, analyse(history), evidence()))[1] == "exam"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_a_terminal(run: History, width: int) -> None:
    lines = terminal(looked_at(run), width).splitlines()
    assert max(map(len, lines[:12])) <= width


def test_optimism_is_the_difference_of_two_independent_lifts(run: History) -> None:
    optimism = lifts_of(looked_at(run), evidence()).optimism
    assert optimism is not None and optimism.value == pytest.approx(0.03)
    assert optimism.low == pytest.approx(0.03 - math.hypot(0.04, 0.04))
    assert optimism.high == pytest.approx(0.03 + math.hypot(0.04, 0.03))


@pytest.mark.parametrize(
    ("exam", "meaning"),
    [
        (Estimate(-0.1, -0.11, -0.09, 58), "The images that decided show too high a lift; on new images expect"),
        (Estimate(0.3, 0.29, 0.31, 58), "The exam shows more than the images that decided."),
        (Estimate(0.06, 0.02, 0.1, 58), "Chance can explain that"),
        (Estimate(0.06, math.nan, math.nan, 58), "Without an interval it can't be told"),
    ],
)
def test_what_the_optimism_means(run: History, exam: Estimate, meaning: str) -> None:
    lines = exam_lines(looked_at(run, lifts={"map_small": exam}), evidence())
    assert any(line.startswith("Optimism") and meaning in line for line in lines)


def test_looks_are_counted(run: History) -> None:
    assert exam_lines(looked_at(run, 3), evidence())[-1] == (
        "The exam was looked at 3 times; from the second look on it is not unseen any more."
    )


def test_rendered_frames_are_said(run: History) -> None:
    def said(share: float) -> str:
        return " ".join(exam_lines(looked_at(run, exam=replace(SET, rendered=share)), evidence()))

    assert "All of the exam's frames were rendered" in said(1.0) and "25% of the exam's" in said(0.25)
    assert "rendered" not in said(0.0)


@pytest.mark.parametrize("found", [evidence(), None])
def test_without_an_exam_that_is_said_first(run: History, found: Evidence | None) -> None:
    assert exam_lines(run, found)[0] == NO_EXAM
    assert terminal(run).startswith("The lift was measured on the images that also decided")
    document = to_document(run, analyse(run), evidence())["exam"]
    assert document["lift"] is None and document["looks"] == 0 and document["validation_lift"]["value"] == 0.06


def test_an_exam_that_is_not_measured_yet(run: History) -> None:
    waiting = replace(run, exam=SET)
    ended, going = (exam_lines(replace(waiting, finished=done), evidence()) for done in (True, False))
    assert ended[0] == "The lift on the exam (data/test) is not measured yet. The same command measures it."
    assert going[0] == "The lift on the exam (data/test) is not measured yet. That is done at the end."
    assert ended[1] == "Lift on the validation set: map_small +0.060 [+0.020, +0.100], n=40."


def test_a_champion_that_is_the_baseline_has_no_lift(run: History) -> None:
    same = replace(run, champion=run.baseline)
    assert exam_lines(same, None) == ()
    assert exam_lines(replace(same, exam=SET), None) == (
        "The champion is the baseline, so there is no lift; the exam (data/test) stays unseen.",
    )


def test_recorded_epochs_have_no_lift(recorded: History) -> None:
    assert exam_lines(recorded, None) == () and to_document(recorded, analyse(recorded))["exam"] is None


def test_the_document_is_plain(run: History) -> None:
    document = to_document(looked_at(run, 2), analyse(run), evidence())["exam"]
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["metric"], document["looks"], document["lift"]["n"]) == ("map_small", 2, 58)
    assert document["optimism"]["value"] == pytest.approx(0.03) and document["guard_lift"]["value"] == 0.01
    assert (document["champion"]["sha256"], document["exam"]["images"]) == ("b", 60)


def test_a_name_from_data_does_no_harm(run: History) -> None:
    waiting = replace(run, exam=replace(SET, path=HOSTILE))
    assert "<script>alert" not in render(waiting, evidence()) and "\x1b" not in terminal(waiting)
    assert "<script>" not in to_markdown(waiting, evidence()).replace("\\<", "")


@pytest.mark.parametrize("which", ["looked at", "none", "waiting", "baseline"])
def test_the_short_report_is_known_as_ours(run: History, tmp_path: Any, which: str) -> None:
    kinds = {
        "looked at": looked_at(run),
        "none": run,
        "waiting": replace(run, exam=SET),
        "baseline": replace(run, exam=SET, champion=run.baseline),
    }
    path = RunFolder(tmp_path).short_report
    path.write_text(to_markdown(kinds[which], evidence()))
    assert is_ours(path)
    path.write_text("- Lift on the exam\n\nmy own notes")
    assert not is_ours(path)


def test_it_is_said_before_a_run() -> None:
    assert exam_in_words(replace(SET, images=1), found=False).startswith("Exam: data/test (1 image), named by ")
