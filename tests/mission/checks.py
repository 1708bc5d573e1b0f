"""Every statement of the strategy document, the command that shows it, and what is seen when the play is over."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mission.document import BEFORE_LAST, CONFIGS, EVALUATION, NOT_RECORDED, PHASE_1, PHASE_2, PHASE_3A
from mission.play import LATER, OPTIMIZE, Play

HISTORY = "smallsight report HISTORY --config X.yaml"
_LAST = {number: config["epochs"] for number, config in enumerate(CONFIGS.values(), start=1)}


@dataclass(frozen=True)
class Check:
    """One statement.

    Attributes:
        statement: what the document says, in a few words.
        command: that shows it.
        look: says in words what happened; an AssertionError says what did not.
    """

    statement: str
    command: str
    look: Callable[[Play], str]


@dataclass(frozen=True)
class Seen:
    """What came of a check."""

    check: Check
    holds: bool
    happened: str


def on_one_line(command: str) -> str:
    """A command of several lines."""
    return " ".join(command.replace("\\\n", " ").split())


CHECKS: list[Check] = []


def check(statement: str, command: str) -> Callable[[Callable[[Play], str]], Callable[[Play], str]]:
    """Makes a function a check of `CHECKS`, which keeps the document's order."""

    def add(look: Callable[[Play], str]) -> Callable[[Play], str]:
        CHECKS.append(Check(statement, command, look))
        return look

    return add


def checked(played: Play) -> list[Seen]:
    """All statements, looked at."""
    seen = []
    for each in CHECKS:
        try:
            seen.append(Seen(each, True, each.look(played)))
        except (AssertionError, KeyError, IndexError, StopIteration, TypeError) as error:
            seen.append(Seen(each, False, f"{type(error).__name__}: {error}"))
    return seen


def as_table(seen: Sequence[Seen]) -> str:
    """A table in Markdown."""
    rows = [f"| {row.check.statement} | `{row.check.command}` | {row.happened} |" for row in seen]
    return "\n".join(["| the document says | command | what happens |", "|---|---|---|", *rows, ""])


def text_of(played: Play, step: str, *wanted: str) -> str:
    """All that a step said, on one line; it ended well and says what is wanted."""
    outcome = played.said[step]
    assert outcome.code == 0, f"{step}: exit code {outcome.code}: {outcome.text[-500:]}"
    said = " ".join(outcome.text.split())
    for words in wanted:
        assert words in said, f"{step}: does not say {words!r}"
    return said


def figure(played: Play, step: str, epoch: int, name: str = "map_small") -> float:
    """A figure of one epoch in the report after a step."""
    return float(played.reports[step]["metrics"][str(epoch)][name])


def phase(played: Play, step: str, number: int) -> dict[str, Any]:
    """A phase of the report after a step, counted from the end."""
    found: dict[str, Any] = played.reports[step]["phases"][number]
    return found


# Current status, key insights, criteria, risks: the author's own recorded history.


@check(
    "Current status: small objects mAP 0.598; +0.0044 per epoch; +0.018 in the last 5 epochs",
    HISTORY,
)
def status(p: Play) -> str:
    text_of(p, "author", "latest 0.598, epoch 39", "+0.0044 per recorded step", "+0.018")
    return "says all three, +0.0037 per elapsed epoch beside +0.0044 per recorded step and why; +0.018 is within noise"


@check(
    "Progress: +0.071 in 19 epochs; minimum 0.65, success 0.70, optimal 0.75",
    HISTORY,
)
def progress(p: Play) -> str:
    text_of(
        p,
        "author",
        "+0.071 in 19 epochs",
        "minimum 0.65 0.052 to go",
        "success 0.70 0.102 to go",
        "optimal 0.75 0.152 to go",
    )
    return "says the gap to each level and the epochs to it, with an interval"


@check(
    "Key insights: multi-scale off is the biggest opportunity, the reduced resolution the second",
    HISTORY,
)
def insights(p: Play) -> str:
    text_of(
        p,
        "author",
        "biggest opportunity: training.multi_scale is off",
        "second opportunity: training.resolution is reduced to 1120 px",
    )
    return "names both with expected gain, risk and the command that changes them"


@check(
    "Metrics to watch: small objects, rate above 0.003, overall mAP above 0.68, overfitting",
    HISTORY,
)
def watched(p: Play) -> str:
    text_of(p, "author", "improvement rate", "above 0.003", "map_50_95 0.682 0.68 or more kept")
    text_of(p, "evaluation_1", "no overfitting")
    assert p.reports["evaluation_1"]["analysis"]["overfitting"]["detected"] in (True, False)
    return "a table with each figure, what is wanted and its state"


@check(
    "Expected timeline: 0.62-0.64, 0.67-0.69, 0.68-0.70 with cumulative gains",
    HISTORY,
)
def timeline(p: Play) -> str:
    text_of(p, "author", "0.62 to 0.64 +0.02 to +0.04", "0.67 to 0.69 +0.07 to +0.09", "0.68 to 0.70 +0.08 to +0.10")
    return "the same table; in a run, what happened stands beside it"


@check("Risks: low, medium, high with mitigations", "smallsight optimize ... --dry-run")
def risks(p: Play) -> str:
    said = text_of(p, "dry_run", "risk")
    levels = set(re.findall(r"\b(low|medium|high)\b", said))
    assert levels == {"low", "medium", "high"}, levels
    assert "batch_size 1" in said, "no mitigation"
    return "each phase with its risk and what is done about it, also in report and JSON"


# Phase 1


@check(
    "Phase 1: go on from epoch 39 with the same settings to epoch 50",
    on_one_line(PHASE_1),
)
def phase_1(p: Play) -> str:
    text_of(p, "phase_1")
    trained = sorted(map(int, p.reports["evaluation_1"]["metrics"]))
    assert trained[-11:] == list(range(BEFORE_LAST + 1, _LAST[1] + 1)), trained
    assert p.stage.path(f"models/checkpoints/checkpoint_epoch_{_LAST[1]}_lightweight.pth").is_file()
    before, after = figure(p, "evaluation_1", BEFORE_LAST), figure(p, "evaluation_1", _LAST[1])
    return f"epochs 40 to 50; map_small {before:.3f} recorded at 39, {after:.3f} at 50"


@check("Did phase 1 beat epoch 39?", "the same command")
def start_measured(p: Play) -> str:
    said = text_of(p, "phase_1")
    verdict = phase(p, "evaluation_1", -1)
    assert verdict["verdict"] is not None and verdict["verdict"]["outcome"], verdict
    assert "start" in said
    outcome, n = verdict["verdict"]["outcome"], verdict["verdict"]["difference"]["n"]
    words = f"can't be told with {n} balls; kept, since it changes no setting" if outcome == "kept" else outcome
    return f"the file is measured first and phase 1 is judged against it: {words}"


@check("Evaluate a checkpoint before anything else", "smallsight evaluate models/checkpoint.pth data/valid")
def evaluate(p: Play) -> str:
    found = p.json_of("epoch_39")
    assert found["epoch"] == BEFORE_LAST and found["metrics"]["map_small"]["low"] is not None
    said = p.said["epoch_39"].text
    assert "\x1b" not in said and "weights_only" not in said
    value = found["metrics"]["map_small"]
    return f"map_small {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}], n={value['n']}, of an old file"


@check(
    "Monitoring: run the evaluation script, also before a run and without an argument",
    EVALUATION.format(config="X"),
)
def evaluation(p: Play) -> str:
    text_of(p, "before")
    text_of(p, "evaluation_alone")
    metrics = p.reports["evaluation_1"]["metrics"]
    recorded = [number for number in range(20, BEFORE_LAST + 1) if number not in NOT_RECORDED]
    assert all(str(number) in metrics for number in recorded), sorted(metrics, key=int)
    kept = p.stage.path("training_evaluation_detailed_before.json")
    assert kept.read_text() == p.stage.path("given/history.json").read_text()
    return "epochs 20 to 39 stand before the run's in the report; the author's own file is kept under another name"


@check("The snippet: last epoch, map_small, gap to 0.65", "python3 << 'EOF' ...")
def snippet(p: Play) -> str:
    for number, last in _LAST.items():
        value = figure(p, f"evaluation_{number}", last)
        lines = p.said[f"snippet_{number}"].out.splitlines()
        assert lines == [
            f"Epoch {last}: Small Objects mAP = {value:.4f}",
            "Target: 0.65-0.70",
            f"Gap: {max(0, 0.65 - value):.4f}",
        ], lines
    return "; ".join(p.said[f"snippet_{number}"].out.splitlines()[0] for number in _LAST)


# Phase 2


@check(
    "Phase 2: multi-scale, epochs 50 to 60, from checkpoint_epoch_50_lightweight.pth",
    on_one_line(PHASE_2),
)
def phase_2(p: Play) -> str:
    text_of(p, "phase_2")
    found = phase(p, "evaluation_2", -1)
    assert (found["start_epoch"], found["end_epoch"]) == (_LAST[1] + 1, _LAST[2]), found
    assert not any(issue["key"] == "training.multi_scale" for issue in p.reports["evaluation_2"]["analysis"]["issues"])
    return f"epochs 51 to 60, {found['verdict']['outcome']}; the report no longer advises multi-scale"


@check(
    "Success of phase 2: small objects mAP above 0.65",
    EVALUATION.format(config="resume_with_multiscale"),
)
def criterion(p: Play) -> str:
    said = text_of(p, "evaluation_2", "0.65")
    levels = {level["name"]: level for level in p.reports["evaluation_2"]["analysis"]["levels"]}
    reached = figure(p, "evaluation_2", _LAST[2]) >= 0.65
    assert "minimum" in levels and "minimum 0.65" in said
    return f"said of each level whether it is reached (here: {'yes' if reached else 'no'}) and how far it is"


@check(
    "Out of memory: batch_size 1, grad_accum_steps kept; else phase 3B or 4",
    f"{on_one_line(PHASE_2)} training.memory_budget_mb=60",
)
def out_of_memory(p: Play) -> str:
    outcome = p.said["out_of_memory"]
    assert outcome.code == 1, outcome.text[-800:]
    said = " ".join(outcome.text.split())
    assert "training.batch_size" in said and "out of memory" in said.replace("_", " "), said[-800:]
    assert "training.learning_rate=0.001" in said and "scripts/train_ball.py" in said, said[-800:]
    return "batch_size 1 is tried with as many images per optimizer step, then phase 3B is named with its command"


# Phase 3A, 3B, 4


@check(
    "Phase 3A: higher resolution, epochs 60 to 70",
    on_one_line(PHASE_3A),
)
def phase_3a(p: Play) -> str:
    text_of(p, "phase_3")
    found = phase(p, "evaluation_3", -1)
    assert (found["start_epoch"], found["end_epoch"]) == (_LAST[2] + 1, _LAST[3]), found
    return f"epochs 61 to 70 at 1288/3.5 = 368 px, {found['verdict']['outcome']}"


@check("Phase 3B: learning rate x 0.5, then x 0.1", "python scripts/train_ball.py ... training.learning_rate=0.001")
def phase_3b(p: Play) -> str:
    text_of(p, "lr_half")
    plan = text_of(p, "dry_run", "learning_rate")
    assert "plateau" in plan or "flat" in plan
    return "by hand with a changed key; in the strategy after a plateau, by the slope or by the document's rule"


@check(
    "Phase 4A copy-paste, 4B mosaic (min_bbox_size 5, border_margin 10), 4C loss weight",
    "python scripts/train_ball.py ... augmentation.copy_paste.enabled=true",
)
def phase_4(p: Play) -> str:
    for name in LATER:
        text_of(p, name)
    outcomes = [found["verdict"]["outcome"] for found in p.reports["evaluation_alone"]["phases"][-len(LATER) :]]
    assert len(outcomes) == len(LATER), outcomes
    return "no code to write: keys of the configuration; each is judged"


# The tree


@check(
    "The decision tree, unattended",
    OPTIMIZE,
)
def tree(p: Play) -> str:
    text_of(p, "optimize")
    report = p.json_of("report")
    names = [found["name"] for found in report["phases"]]
    assert (names[0] == "baseline" and "continue" in names) or "multi_scale" in names, names
    assert report["decisions"] and all(decision["reason"] for decision in report["decisions"])
    assert p.stage.path("optimized/checkpoint_best.pth").is_file() and p.stage.path("optimized/report.html").is_file()
    baseline, champion = report["baseline"]["map_small"], report["champion"]["map_small"]
    assert champion >= baseline
    figures = f"map_small {baseline:.3f} to {champion:.3f}"
    return f"phases {', '.join(names)}; {figures}; each decision with its reason"


@check("Go on after an interruption; nothing twice", "the same command again")
def again(p: Play) -> str:
    text_of(p, "optimize_again")
    assert p.seconds["optimize_again"] < p.seconds["optimize"] / 2
    return "says that all is done and trains nothing"


@check("Prepare: time, epochs, memory before a phase", "smallsight optimize ... --dry-run")
def dry_run(p: Play) -> str:
    text_of(p, "dry_run", "epochs", "GB")
    return "the plan, time, memory of one measured step, and the smallest gain that the validation set can show"


@check("Monitor a run", "smallsight status models; smallsight compare models optimized")
def monitoring(p: Play) -> str:
    text_of(p, "status", f"{_LAST[3] + 2 * len(LATER)}")
    text_of(p, "compare", "map_small")
    return "where it stands, memory with its limit; two runs side by side with the difference and its interval"
