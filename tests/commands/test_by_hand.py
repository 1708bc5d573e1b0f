"""Phases by hand as a user has them: what `train` says and leaves, and what the evaluation script makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import write_coco_folder
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.commands.evaluation import evaluate_training
from smallsight.commands.report import show_report
from smallsight.commands.train import optimize, train_one_phase
from smallsight.data.coco import read_coco
from smallsight.errors import ConfigError, HistoryError, Interrupted, TrainingError
from smallsight.evaluation.detections_file import save_detections
from smallsight.records import Detections, EpochRecord, Estimate
from smallsight.report.status import status_of
from smallsight.run.given import GivenFile

REPORT_FILE = "training_evaluation_detailed.json"

ROOT = Path(__file__).parents[2]
CONFIG = """\
model: {detector: nano}
training: {epochs: 41, resolution: 96}
evaluation: {replicates: 100}
dataset: {coco_train_path: data/train, coco_val_path: data/valid}
checkpoint: {start_epoch: 40}
output: {output_dir: models}
"""
ROWS = {str(epoch): {"map_small": 0.4, "map_50_95": 0.4, "train_loss": 4.0} for epoch in (*range(20, 36), 39)}
SNIPPET = """
import json
import shutil
with open('training_evaluation_detailed.json') as f:
    data = json.load(f)
    last_epoch = max([int(k) for k in data['metrics'].keys()])
    small_map = data['metrics'][str(last_epoch)]['map_small']
    print(f"Epoch {last_epoch}: Small Objects mAP = {small_map:.4f}")
"""


class StandIn:
    """Finds every ball, trains nothing, and ends as `ending` says."""

    ending: Callable[[AttemptSpec], AttemptResult] | None = None

    def __init__(self, on_progress: object) -> None:
        pass

    def __call__(self, spec: AttemptSpec, on_epoch: Callable[[EpochRecord], bool], on_fact: object) -> AttemptResult:
        valid = read_coco(Path(spec.config["dataset"]["coco_val_path"]))
        found = [Detections(t.boxes, np.full(len(t), 0.9, dtype=np.float32), t.labels) for t in valid.truths]
        for epoch in range(spec.first_epoch, spec.last_epoch + 1) or [spec.first_epoch - 1]:
            save_detections(spec.detections(epoch), found, [image.id for image in valid.images])
            spec.best.write_text("weights")
            metrics = {name: Estimate(0.5) for name in ("map_small", "map_50_95", "map_50")}
            on_epoch(EpochRecord(epoch, spec.phase, spec.attempt, metrics, seconds=1.0))
            if epoch >= spec.first_epoch and type(self).ending is not None:
                return type(self).ending(spec)
        return AttemptResult()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The author's working directory: data, configurations, an old checkpoint and what was recorded of its epochs."""
    for seed, split in enumerate(("train", "valid")):
        write_coco_folder(tmp_path / "data" / split, 3, (64, 48), seed=seed)
    (tmp_path / "one.yaml").write_text(CONFIG)
    (tmp_path / "two.yaml").write_text(CONFIG.replace("resolution: 96", "resolution: 96, multi_scale: true"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "checkpoint.pth").write_text("old")
    (tmp_path / REPORT_FILE).write_text(json.dumps({"metrics": ROWS}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("smallsight.commands.train.ChildTrainer", StandIn)
    monkeypatch.setattr("smallsight.commands.inputs.look_at", lambda path, *_: GivenFile(str(path), "a" * 64, 39))
    monkeypatch.setattr(sys, "argv", ["scripts/train_ball.py"])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(StandIn, "ending", None)
    return tmp_path


def train(name: str = "one", *overrides: str) -> dict[str, Any]:
    return train_one_phase(Path(f"{name}.yaml"), overrides, None, Path("models/checkpoint.pth"))


def test_the_start_is_measured_and_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = train()
    shown = capsys.readouterr().out
    assert (
        "models/checkpoint.pth is kept as models/phases/01_start/start.pth; the run's own checkpoint.pth takes" in shown
    )
    assert [(phase["name"], phase["outcome"]) for phase in document["phases"]] == [
        ("start", "baseline"),
        ("one", "kept"),
    ]
    assert document["baseline"]["epoch"] == 39
    assert (project / "models" / "phases" / "01_start" / "start.pth").read_text() == "old"


def test_files_of_another_tool_in_the_run_folder_are_kept(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = ("metrics.csv", "report.html", "report.md", "config.yaml", "strategy.yaml", "status.json", "live.json")
    for name in (*foreign, REPORT_FILE, "checkpoint_best.pth", "checkpoint_previous.pth"):
        (project / "models" / name).write_text("mine")
    train()
    shown = capsys.readouterr().out
    for name in (*foreign, "checkpoint_best.pth", "checkpoint_previous.pth", REPORT_FILE):
        stem, dot, suffix = name.rpartition(".")
        kept = project / "models" / f"{stem}_before{dot}{suffix}"
        assert kept.read_text() == "mine" and shown.count(f"it is kept as {kept.name}") == 1
    train("two")
    assert "kept as" not in capsys.readouterr().out, "what a run wrote itself is its own"
    assert not list((project / "models").glob("*_before_2*"))


@pytest.mark.parametrize("name", ["checkpoint_best.pth", "checkpoint_previous.pth"])
def test_a_start_under_the_name_of_a_file_of_ours_is_copied(
    project: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "models" / "checkpoint.pth").rename(project / "models" / name)
    train_one_phase(Path("one.yaml"), [], None, Path("models") / name)
    assert f"models/{name} is kept as models/phases/01_start/start.pth" in capsys.readouterr().out
    assert (project / "models" / "phases" / "01_start" / "start.pth").read_text() == "old"
    assert not list((project / "models").glob("*_before*"))


def test_a_configuration_in_the_run_folder_goes_on_working(project: Path) -> None:
    """Its place is taken by the whole configuration, which says the same."""
    config = project / "models" / "config.yaml"
    config.write_text(CONFIG)
    train_one_phase(Path("models/config.yaml"), [], None, Path("models/checkpoint.pth"))
    assert (project / "models" / "config_before.yaml").read_text() == CONFIG
    again = train_one_phase(Path("models/config.yaml"), [], None, Path("models/checkpoint.pth"))
    assert [phase["name"] for phase in again["phases"]] == ["start", "config"], "it is the same phase"


def test_a_strategy_keeps_foreign_files_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "models" / "metrics.csv").write_text("mine")
    (project / "models" / REPORT_FILE).write_text(json.dumps({"metrics": ROWS}))
    (project / "plan.yaml").write_text("phases: []\n")
    document = optimize(Path("one.yaml"), Path("plan.yaml"), [], None, Path("models/checkpoint.pth"), None)
    assert (project / "models" / "metrics_before.csv").read_text() == "mine"
    assert list(document["metrics"])[:2] == ["20", "21"], "epochs recorded before stand before the run's"
    assert "its epochs 20 to 39 stand before the run's" in capsys.readouterr().out


def stopped(spec: AttemptSpec) -> AttemptResult:
    raise Interrupted("stopped in epoch 41")


def test_an_interrupted_run_says_so_everywhere(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(StandIn, "ending", stopped)
    with pytest.raises(Interrupted):
        train()
    step = "The run was interrupted in phase one, after epoch 40. Run the same command again: it goes on there."
    command = "python scripts/train_ball.py --config one.yaml --output-dir models --resume models/checkpoint.pth"
    document = json.loads((project / "models" / REPORT_FILE).read_text())
    assert document["analysis"]["recommendations"][0] == step
    assert document["commands"] == [{"title": "Go on", "line": command}]
    assert document["phases"][1]["outcome"] == "interrupted"
    page, short = ((project / "models" / name).read_text() for name in ("report.html", "report.md"))
    assert step in page and "<span>interrupted</span>" in page and f"**Next:** {step}" in short
    capsys.readouterr()
    show_report(Path("models"), as_json=False)
    assert f"Next: {step}" in (shown := capsys.readouterr().out) and command in shown.splitlines()
    found = status_of(Path("models"))
    assert (found["state"], found["running"], found["phase_state"]) == ("unfinished", False, "running")


def test_out_of_memory_says_what_to_run_instead(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(StandIn, "ending", lambda spec: AttemptResult("out_of_memory", "2 GiB were asked for"))
    with pytest.raises(TrainingError, match=r"^two failed \(out_of_memory\)"):
        train("two", "training.num_workers=0")
    command = (
        "python scripts/train_ball.py --config two.yaml --output-dir models --resume models/phases/01_start/start.pth "
        "training.num_workers=0 training.multi_scale=false training.learning_rate=0.001"
    )
    shown = capsys.readouterr().out.splitlines()
    assert shown[shown.index("Phase 3B, step 1: learning rate x 0.5:") + 1] == command
    assert status_of(Path("models"))["state"] == "failed"
    assert command in (project / "models" / "report.html").read_text()


def evaluate(given: str | None = None) -> None:
    evaluate_training(Path(given) if given else None)


def recorded(project: Path) -> Any:
    return json.loads((project / REPORT_FILE).read_text())["metrics"]


@pytest.mark.parametrize("given", ["one.yaml", None, "models"])
def test_the_evaluation_keeps_what_was_recorded_before(
    project: Path, given: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (project / REPORT_FILE).read_bytes()
    train()
    capsys.readouterr()
    evaluate(given)
    assert capsys.readouterr().out.splitlines()[0] == (
        f"{REPORT_FILE}: not written by smallsight, so it is kept as training_evaluation_detailed_before.json; "
        "its epochs 20 to 39 stand before the run's from now on."
    )
    assert (project / "training_evaluation_detailed_before.json").read_bytes() == before
    assert list(recorded(project)) == [*ROWS, "40", "41"]
    assert (recorded(project)["20"]["map_small"], recorded(project)["39"]["map_small"]) == (0.4, 0.5)
    done = subprocess.run([sys.executable, "-c", SNIPPET], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout == "Epoch 41: Small Objects mAP = 0.5000\n"
    evaluate(given)
    assert "kept as" not in capsys.readouterr().out and len(list(project.glob("*.json"))) == 2
    assert json.loads((project / "models" / REPORT_FILE).read_text())["metrics"] == recorded(project)


def test_before_any_run_the_evaluation_says_what_there_is(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / REPORT_FILE).read_bytes()
    evaluate("one.yaml")
    shown = capsys.readouterr().out
    assert shown.startswith(
        f"No run in models yet: this report is made from one.yaml and the epochs in {REPORT_FILE}.\nNext: "
    )
    assert "training.multi_scale is off" in shown and "latest        0.400, epoch 39" in shown
    assert (project / REPORT_FILE).read_bytes() == before
    (project / REPORT_FILE).unlink()
    evaluate("one.yaml")
    shown = capsys.readouterr().out
    assert f"made from one.yaml alone, since there is no {REPORT_FILE} here." in shown.replace("\n", " ")
    assert "Train and record: no epoch with map_small is recorded yet." in shown
    assert "training.multi_scale is off" in shown
    assert not (project / REPORT_FILE).exists()


def test_without_anything_the_evaluation_says_where_it_looked(project: Path) -> None:
    (project / REPORT_FILE).unlink()
    with pytest.raises(HistoryError, match=r"^models: no run there, and no training_evaluation_detailed\.json here"):
        evaluate()


def test_another_recorded_file_takes_the_place_of_none(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / REPORT_FILE).read_bytes()
    (project / "other.json").write_text('{"metrics": {"5": {"map_small": 0.25}}}')
    evaluate("other.json")
    assert capsys.readouterr().out.startswith(f"{REPORT_FILE}: not written by smallsight, so it is kept as ")
    assert list(recorded(project)) == ["5"]
    assert (project / "training_evaluation_detailed_before.json").read_bytes() == before


def test_files_are_written_though_nobody_reads(project: Path) -> None:
    """`| head -1` closes the pipe after a line; here nobody ever reads."""
    train()
    page = project / "models" / "report.html"
    page.unlink()
    read, write = os.pipe()
    os.close(read)
    script = [sys.executable, str(ROOT / "scripts" / "comprehensive_training_evaluation.py"), "one.yaml"]
    subprocess.run(script, cwd=project, stdout=write, stderr=subprocess.DEVNULL, timeout=60)
    os.close(write)
    assert page.is_file() and list(recorded(project)) == [*ROWS, "40", "41"]


@pytest.mark.parametrize(
    ("called", "words"),
    [
        ("/opt/venv/bin/smallsight", "smallsight train"),
        ("/opt/lib/smallsight/__main__.py", "python -m smallsight train"),
        ("scripts/train_ball.py", "python scripts/train_ball.py"),
    ],
)
def test_a_command_is_named_as_it_was_called(
    project: Path, monkeypatch: pytest.MonkeyPatch, called: str, words: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr(StandIn, "ending", stopped)
    with pytest.raises(Interrupted):
        train()
    document = json.loads((project / "models" / REPORT_FILE).read_text())
    assert document["commands"][0]["line"].startswith(f"{words} --config one.yaml")


def test_probable_mistakes_are_said_before_anything_is_trained(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training set as the validation set, and another epoch than the one that the file says."""
    train("one", "dataset.coco_val_path=data/train", "checkpoint.start_epoch=41")
    shown = capsys.readouterr().err
    assert "data/train: holds the same images as data/train. Figures on images that are trained on say nothing" in shown
    assert (
        "models/checkpoint.pth: says epoch 39, and checkpoint.start_epoch says 41: new epochs begin with 41." in shown
    )


def test_a_copy_of_the_training_set_is_known_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(project / "data" / "train", project / "data" / "copy")
    train("one", "dataset.coco_val_path=data/copy")
    assert "data/copy: holds the same images as data/train" in capsys.readouterr().err


def test_an_end_before_the_start_names_the_key(project: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"49 are done already by checkpoint.start_epoch=50\. Raise training\.epochs, or"
    ):
        train("one", "checkpoint.start_epoch=50", "training.epochs=45")


def test_temporary_files_of_a_stopped_process_are_removed(project: Path) -> None:
    left = project / "models" / ".live.json.kg3x_r8t.tmp"
    left.write_text("{")
    train()
    assert not left.exists()
