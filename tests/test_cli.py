"""The command line: what comes out, what is written, and one message where the input is wrong."""

from __future__ import annotations

import errno
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer

from builders import write_annotations, write_coco_folder
from in_turn import one_at_a_time
from smallsight.attempts.messages import Fact, Memory, Pace, Probe
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.cli import app, main
from smallsight.data.coco import read_coco
from smallsight.errors import Interrupted
from smallsight.evaluation.detections_file import save_detections
from smallsight.records import Detections, EpochRecord, Estimate
from smallsight.run.given import GivenFile
from waiting import HANGS_S

CONFIG = """\
training: {epochs: 2, resolution: 96}
evaluation: {replicates: 100}
dataset: {coco_train_path: data/train, coco_val_path: data/valid}
"""
STRATEGY = "phases: [{name: longer, epochs: 1}]\n"


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


class FakeChild:
    """Finds every ball at once and trains nothing."""

    calls = 0

    def __init__(self, on_progress: object, limit_s: float = math.inf) -> None:
        pass

    def __call__(
        self,
        spec: AttemptSpec,
        on_epoch: Callable[[EpochRecord], bool],
        on_fact: Callable[[Fact], None],
    ) -> AttemptResult:
        if spec.rehearses:
            on_fact(Memory(Probe(batch_size=4, peak_mb=1234.0, limit_mb=24000.0)))
            on_fact(Pace(training_s=90.0, evaluation_s=10.0, device="a device"))
            return AttemptResult()
        type(self).calls += 1
        valid = read_coco(Path(spec.config["dataset"]["coco_val_path"]))
        found = [
            Detections(truth.boxes, np.full(len(truth), 0.9, dtype=np.float32), truth.labels) for truth in valid.truths
        ]
        for epoch in range(spec.first_epoch, spec.last_epoch + 1):
            save_detections(spec.detections(epoch), found, [image.id for image in valid.images])
            spec.best.write_text("weights")
            metrics = {name: Estimate(0.5) for name in ("map_small", "map_50_95")}
            on_epoch(EpochRecord(epoch, spec.phase, spec.attempt, metrics, seconds=1.0))
        return AttemptResult()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data, a configuration and a strategy."""
    for seed, split in enumerate(("train", "valid")):
        write_coco_folder(tmp_path / "data" / split, 3, (64, 48), seed=seed)
    (tmp_path / "run.yaml").write_text(CONFIG)
    (tmp_path / "strategy.yaml").write_text(STRATEGY)
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setattr("smallsight.commands.workers.LocalTrainer", one_at_a_time(FakeChild))
    monkeypatch.setattr("smallsight.training.rehearsal.ChildTrainer", FakeChild)
    FakeChild.calls = 0
    return tmp_path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr("sys.argv", ["smallsight", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), written.out, written.err)

    return call


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def optimize(*more: str) -> list[str]:
    return ["optimize", "--config", "run.yaml", "--strategy", "strategy.yaml", "--output-dir", "out", *more]


WRONG: list[tuple[Sequence[str], str]] = [
    (["optimize", "--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
    (["train", "--config", "data"], "data: no such file"),
    (optimize("training.epoch=3"), "training.epoch: unknown key. Did you mean epochs?"),
    (optimize("strategy.stop_at=sucess"), "strategy.stop_at: got 'sucess', expected minimum, success, optimal or"),
    (
        ["train", "--config", "run.yaml", "strategy.stop_at=success"],
        "strategy.stop_at: a single phase has no strategy. Give it to smallsight optimize.",
    ),
    (optimize("training.epochs"), "training.epochs: not an override; expected section.key=value"),
    (optimize("training.epochs=many"), "training.epochs: got 'many', expected a whole number from 1"),
    (optimize("dataset.coco_train_path=nowhere"), "nowhere: no such folder"),
    (optimize("dataset.coco_val_path=${NOT_SET}/valid"), "the environment variable NOT_SET is not set"),
    (optimize("dataset.coco_val_path="), "dataset.coco_val_path: not given"),
    (optimize("dataset.category_name=puck"), "puck"),
    (optimize("model.rfdetr_size=base", "model.detector=rfdetr"), "RF-DETR base has 300 queries"),
    (
        optimize("model.rfdetr_size=base", "model.detector=rfdetr", "training.resolution=300"),
        "RF-DETR base needs a multiple of 56; got 300.",
    ),
    (optimize("--budget", "ten"), "--budget: got 'ten', expected a time such as 90s, 20m or 8h."),
    (optimize("--budget", "0s"), "--budget: got '0s'"),
    (optimize("--budget", "nans"), "--budget: got 'nans'"),
    (optimize("--strategy", "nowhere.yaml"), "nowhere.yaml: no such file"),
    (optimize("--strategy", "run.yaml"), "run.yaml: "),
    (optimize("--output-dir", "file"), "file: is no folder. Give another --output-dir."),
    (optimize("--output-dir", "file/run"), "file/run: can't be written"),
    (["optimize", "--config", "file", "--output-dir", "out"], "dataset.coco_train_path: not given"),
    (["status", "data"], "data: no journal.sqlite, so no run"),
    (["status", "file"], "file: no journal.sqlite, so no run"),
    (optimize("evaluation.sets=data/night"), "expected names with folders, such as {night: data/night}"),
    (["report", "data"], "data: neither journal.sqlite nor training_evaluation_detailed.json is in it, so no run."),
    (["compare", "data", "data"], "data: neither journal.sqlite nor training_evaluation_detailed.json is in it"),
    (["report", "run.yaml", "--html", "data"], "data: is a folder, expected a file to write. Give its name, too."),
    (["doctor", "data", "--html", "data"], "data: is a folder, expected a file to write."),
    (["report", "nowhere"], "nowhere: no such file"),
    (["report", "nowhere", "--config", "run.yaml"], "nowhere: no such file"),
    (["report", "file", "--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
    (["report", "file", "--strategy", "strategy.yaml"], "--strategy: needs --config"),
    (["report", "file"], "file"),
    (["synth", "frames", "--size", "12"], "--size: got '12', expected WxH in px"),
    (["synth", "/proc/x", "--images", "9"], "Check the path and its permissions."),
    (["synth", "file/x", "--images", "9"], "Check the path and its permissions."),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_input_is_told_in_one_line_and_changes_nothing(
    project: Path, cli: Cli, arguments: Sequence[str], message: str
) -> None:
    before = content_of(project)
    outcome = cli(*arguments)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("Error: ") and outcome.err.count("\n") == 1
    assert message in outcome.err
    assert content_of(project) == before


def test_a_run_folder_is_not_touched_by_a_call_that_does_not_fit(project: Path, cli: Cli) -> None:
    assert cli(*optimize()).code == 0
    before = content_of(project)
    for arguments, message in (
        (optimize("training.learning_rate=0.5"), "out: holds a run with training.learning_rate 0.002; now 0.5."),
        (["train", "--config", "run.yaml", "--output-dir", "out"], "out: holds a run of `smallsight optimize`."),
        (["optimize", "--config", "run.yaml", "--output-dir", "out"], "out: holds a run with "),
        (optimize("--budget", "soon"), "--budget"),
        (optimize("dataset.coco_train_path=nowhere"), "now"),
    ):
        outcome = cli(*arguments)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1) and message in outcome.err
        assert content_of(project) == before


def test_a_checkpoint_that_is_not_there(project: Path, cli: Cli) -> None:
    outcome = cli(*optimize("--resume", "nowhere.pth"))
    assert outcome.code == 2 and outcome.err.startswith("Error: nowhere.pth: no such file")
    assert not (project / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--colour"], ["optimize"], ["optimize", "--config"], ["optimise"], ["status"], ["synth", "--images", "x"]],
)
def test_a_wrong_option_is_a_usage_error(project: Path, cli: Cli, arguments: Sequence[str]) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 2 and "Error" in outcome.err and "Traceback" not in outcome.err


def test_boxes_and_ids_are_read_as_the_options_say(tmp_path: Path, cli: Cli) -> None:
    content = write_coco_folder(tmp_path / "set", 3)
    for item in content["annotations"]:
        x, y, width, height = item["bbox"]
        item["bbox"] = [2 * x, 2 * y, 2 * (x + width), 2 * (y + height)]
        item["category_id"] = 0
    for item in content["images"]:
        item.update(width=2 * item["width"], height=2 * item["height"])
    write_annotations(tmp_path / "set", content)
    options = ["--boxes", "corners", "--sizes", "scale", "--shift", "category_id=1"]
    done = cli("convert", str(tmp_path / "set"), str(tmp_path / "out"), *options)
    assert done.code == 0 and "3 images have another size than given" in done.out
    write_coco_folder(tmp_path / "plain", 3)
    plain, scaled = read_coco(tmp_path / "plain"), read_coco(tmp_path / "out")
    for one, other in zip(plain.truths, scaled.truths, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)  # four decimals are written
    given = ["--boxes", "corners", "--box-frame", "192x128", "--sizes", "file", "--shift", "category_id=1"]
    assert cli("convert", str(tmp_path / "set"), str(tmp_path / "same"), *given).code == 0
    for one, other in zip(plain.truths, read_coco(tmp_path / "same").truths, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
    for wrong in (["--box-frame", "wide"], ["--shift", "id=1"], ["--boxes", "circles"], ["--sizes", "any"]):
        refused = cli("convert", str(tmp_path / "set"), str(tmp_path / "no"), *wrong)
        assert refused.code == 2 and wrong[0] in refused.err and not (tmp_path / "no").exists()


COMMANDS = (
    "synth",
    "convert",
    "split",
    "doctor",
    "train",
    "optimize",
    "evaluate",
    "report",
    "compare",
    "status",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_cuts_no_name_in_a_narrow_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = cli(command, "--help")
    group = typer.main.get_command(app)
    options = group.commands[command].params  # type: ignore[attr-defined]
    names = [name for option in options if not getattr(option, "hidden", False) for name in option.opts]
    assert shown.code == 0 and all(name in shown.out for name in names if name.startswith("--"))


def test_each_command_says_in_a_line_of_80_columns_what_it_does(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = cli("--help").out.splitlines()
    (rows,) = (lines[lines.index("Commands:") + 1 :][: len(COMMANDS)],)
    assert [row.split()[0] for row in rows] == list(COMMANDS) and all(row.endswith(".") for row in rows)
    assert not any(row.endswith("...") for row in rows)


def test_a_terminal_breaks_lines_between_words(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    whole = cli("optimize", "--config", "nowhere.yaml").err
    monkeypatch.setattr("smallsight.cli.messages._width", lambda stream: 40)
    broken = cli("optimize", "--config", "nowhere.yaml").err
    assert broken == "Error: nowhere.yaml: no such file. Give\n    the path of a YAML file.\n"
    assert whole == " ".join(broken.split()) + "\n"


def test_a_plan_is_printed_and_nothing_is_written(project: Path, cli: Cli) -> None:
    before = content_of(project)
    outcome = cli("optimize", "--config", "run.yaml", "--dry-run", "--budget", "20m")
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out.startswith("small objects: map_small to 0.65 / 0.7 / 0.75 (stops at: minimum)")
    assert "- Phase 2: multi-scale training: 10 epochs, up to " in outcome.out
    assert "    when map_small is below 0.65 (the goal) and multi_scale completed\n" in outcome.out
    assert "    not where lr_decay_tenth began with the same settings from the same champion\n" in outcome.out
    assert content_of(project) == before


def test_a_higher_level_in_one_line(project: Path, cli: Cli) -> None:
    flat = "strategy.first_when_flat=[lr_decay_half, lr_decay_tenth]"
    outcome = cli("optimize", "--config", "run.yaml", "--dry-run", "strategy.stop_at=success", flat)
    assert outcome.code == 0 and "0.65 / 0.7 / 0.75 (stops at: success)" in outcome.out
    assert "    when map_small is below 0.7 (the goal) and multi_scale completed\n" in outcome.out
    assert "Where map_small is flat after a phase, these go first: lr_decay_half, lr_decay_tenth\n" in outcome.out


WRONG_RUNS = [arguments for arguments, _ in WRONG if arguments[0] == "optimize" and "file/run" not in arguments]


@pytest.mark.parametrize("arguments", WRONG_RUNS)
def test_a_dry_run_refuses_what_a_run_refuses(project: Path, cli: Cli, arguments: Sequence[str]) -> None:
    assert cli(*arguments, "--dry-run") == cli(*arguments)


def test_a_dry_run_looks_for_the_device(project: Path, cli: Cli) -> None:
    outcome = cli(*optimize("--dry-run", "training.device=cuda:63"))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "Error: training.device: cuda:63 is not on this machine. Use auto or cpu.\n"


def test_a_dry_run_loads_no_torch(project: Path) -> None:
    call = ["smallsight", *optimize("--dry-run", "training.device=cpu")]
    code = (
        f"import sys; sys.argv = {call}\nfrom smallsight.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=HANGS_S)
    assert (done.returncode, done.stderr) == (0, "") and "- longer: 1 epoch; no change of settings" in done.stdout


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        ([], "Baseline: train from scratch: 2 epochs\n"),
        (["model.rfdetr_size=tiny"], "Baseline: train from scratch: 2 epochs\n"),
        (["model.rfdetr_size=tiny", "model.pretrained=true"], "Baseline: train from pretrained weights: 2 epochs\n"),
        (["model.rfdetr_size=tiny", "model.pretrained=a.pth"], "Baseline: train from the weights in a.pth: 2 epochs\n"),
        (["checkpoint.resume_from=any.pth"], "Baseline: evaluate the checkpoint\n"),
        (["training.epochs=1"], "Baseline: train from scratch: 1 epoch\n"),
    ],
)
def test_a_plan_says_what_the_baseline_begins_with(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, settings: list[str], title: str
) -> None:
    monkeypatch.setattr("smallsight.commands.inputs.look_at", lambda path, *_: GivenFile(str(path), epoch=7))
    monkeypatch.setattr("smallsight.commands.inputs.refuse_unavailable", lambda *_: None)
    outcome = cli(*optimize("--dry-run", *settings))
    assert (outcome.code, outcome.err) == (0, "") and title in outcome.out


def test_warnings_come_with_the_plan(project: Path, cli: Cli) -> None:
    said = cli(*optimize("--dry-run", "model.num_classes=1")).err
    assert said == ""
    said = cli(*optimize("--dry-run", "model.num_classes=80")).err
    assert said == "Warning: run.yaml: model.num_classes has no effect: the number of classes is that of the data, 1.\n"


def test_a_plan_as_json(project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallsight.commands.inputs.look_at", lambda path, *_: GivenFile(str(path), epoch=7))
    outcome = cli(*optimize("--dry-run", "--json", "--budget", "100s", "--resume", "any.pth"))
    rows = json.loads(outcome.out)["phases"]
    assert [(row["name"], row["epochs"], row["budget_s"]) for row in rows] == [
        ("baseline", 0, 50.0),
        ("longer", 1, 50.0),
    ]


def test_a_dry_run_says_what_the_run_takes_what_it_risks_and_what_it_can_show(project: Path, cli: Cli) -> None:
    lines = [line.split() for line in cli(*optimize("--dry-run")).out.splitlines()]
    assert ["longer", "low"] in lines
    assert ["phase", "epochs", "time", "memory", "of", "24.0", "GB"] in lines
    assert ["baseline", "2", "3", "min", "1.23"] in lines and ["longer", "1", "2", "min", "1.23"] in lines
    assert ["all", "3", "5", "min", "1.23"] in lines
    assert " ".join(lines[-1]) == (
        "Smallest gain that the validation set can show: none, at 95% confidence (3 such objects in 3 images). "
        "Add labelled images, or lower verdict.confidence and verdict.run_confidence of the strategy."
    )


def test_a_dry_run_as_json_says_so_too(project: Path, cli: Cli) -> None:
    content = json.loads(cli(*optimize("--dry-run", "--json")).out)
    assert [(row["name"], row["risk"], row["mitigation"]) for row in content["phases"]] == [
        ("baseline", None, ""),
        ("longer", "low", ""),
    ]
    assert [row["cost"]["seconds"] for row in content["phases"]] == [200.0, 100.0]
    assert content["phases"][1]["cost"] == {
        **{"seconds": 100.0, "seconds_per_epoch": 100.0, "memory_mb": 1234.0, "memory_limit_mb": 24000.0},
        **{"fits": True, "device": "a device", "not_measured": ""},
    }
    assert content["cost"] == {"epochs": 3, "seconds": 300.0, "all_measured": True, "memory_mb": 1234.0}
    gain = content["smallest_gain"]
    assert (gain["gain"], gain["n_objects"], gain["n_images"], gain["confidence"]) == (None, 3, 3, 0.95)


def test_a_whole_run_as_json(project: Path, cli: Cli) -> None:
    outcome = cli(*optimize("--json"))
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert set(document["metrics"]) == {"1", "2", "3"}
    assert json.loads((project / "out" / "training_evaluation_detailed.json").read_text()) == document
    assert json.loads(cli("report", "out", "--json").out) == document
    status = json.loads(cli("status", "out", "--json").out)
    assert (status["state"], status["epoch"], status["champion"]) == ("finished", 3, 0.5)
    quiet = {"live": None, "live_beside_others": []}
    assert {**json.loads((project / "out" / "status.json").read_text()), "running": False, **quiet} == status


def test_the_end_says_what_the_run_has_taken(project: Path, cli: Cli) -> None:
    shown = cli(*optimize())
    (line,) = (line for line in shown.out.splitlines() if line.startswith("Disk: the run takes "))
    assert line in (project / "out" / "run.log").read_text()
    assert "in 3 full ones" in line, "the best of the baseline and of one attempt, and the champion"
    assert "Disk: the run takes" in cli(*optimize("--json")).err


def test_a_finished_run_is_told_and_not_trained(project: Path, cli: Cli) -> None:
    cli(*optimize())
    calls, journal = FakeChild.calls, (project / "out" / "journal.sqlite").read_bytes()
    outcome = cli(*optimize())
    assert outcome.code == 0 and "Nothing is left to do in this run." in outcome.out
    assert FakeChild.calls == calls and (project / "out" / "journal.sqlite").read_bytes() == journal


def test_status_and_report_in_words(project: Path, cli: Cli) -> None:
    cli("train", "--config", "run.yaml", "--output-dir", "out")
    status = cli("status", "out").out
    assert "run                 finished\n" in status and "phase               run, ended with epoch 2\n" in status
    assert "champion map_small  0.500, epoch 1\n" in status
    told = cli("report", "out").out
    assert "map_small" in told and "baseline" in told and "Resume" not in told
    assert "these epochs are done already" in cli("train", "--config", "run.yaml", "--output-dir", "out").out


def test_an_interruption_has_its_own_exit_code(project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: object, spec: object, on_epoch: object, on_fact: object) -> AttemptResult:
        raise Interrupted("stopped in epoch 1")

    with monkeypatch.context() as patch:
        patch.setattr(FakeChild, "__call__", stopped)
        outcome = cli(*optimize())
    assert outcome.code == 3
    assert outcome.err == "Interrupted: stopped in epoch 1. Run the same command again to go on.\n"
    assert json.loads((project / "out" / "status.json").read_text())["state"] == "unfinished"
    again = cli(*optimize())
    assert again.code == 0 and again.out.startswith("Going on: baseline, epoch 1 of 2\n")


def test_a_page_is_written_where_asked_for_and_said_so(project: Path, cli: Cli) -> None:
    cli("train", "--config", "run.yaml", "--output-dir", "out")
    said = cli("report", "out", "--html", "page.html").out
    assert said.endswith("Report: out/report.html\nReport: page.html\n") and (project / "page.html").is_file()


def test_a_recorded_history_is_looked_at_with_a_configuration(project: Path, cli: Cli) -> None:
    rows = {str(epoch): {"map_small": 0.5 + epoch / 1000} for epoch in (3, 4, 5)}
    (project / "epochs.json").write_text(json.dumps({"metrics": rows}))
    before = content_of(project)
    told = cli("report", "epochs.json", "--config", "run.yaml").out
    assert "biggest opportunity: training.multi_scale is off." in told
    assert (
        "    smallsight train --config run.yaml --output-dir runs/run --resume runs/run/checkpoint.pth "
        "training.multi_scale=true training.epochs=15\n"
    ) in told
    assert content_of(project) == before
    own = cli("report", "epochs.json", "--config", "run.yaml", "--strategy", "strategy.yaml").out
    assert "opportunity" not in own and "longer" in own
    given = cli("report", "epochs.json", "--config", "run.yaml", "--json").out
    assert json.loads(given)["analysis"]["timeline"]["start"]["epoch"] == 5


def test_a_run_folder_knows_its_configuration(project: Path, cli: Cli) -> None:
    cli(*optimize())
    before = content_of(project)
    outcome = cli("report", "out", "--config", "run.yaml")
    assert (outcome.code, outcome.out) == (2, "") and content_of(project) == before
    assert (
        outcome.err == "Error: --config: out is a run folder, which knows its own configuration. Leave --config out.\n"
    )


def test_a_failed_run_has_its_own_exit_code(project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeChild, "__call__", lambda *_: AttemptResult("crashed", "bus error"))
    outcome = cli("train", "--config", "run.yaml", "--output-dir", "out")
    log = "out/phases/01_run/attempt_1/worker.log"
    assert (outcome.code, outcome.err) == (1, f"Error: run failed (crashed): bus error; see {log}\n")


def test_other_validation_images_are_refused_before_training(project: Path, cli: Cli) -> None:
    cli("train", "--config", "run.yaml", "--output-dir", "out")
    content = write_coco_folder(project / "data" / "valid", 2, (64, 48), seed=5)
    write_annotations(project / "data" / "valid", content)
    calls = FakeChild.calls
    outcome = cli("train", "--config", "run.yaml", "--output-dir", "out", "training.epochs=3")
    assert outcome.code == 2 and outcome.err.startswith(
        "Error: data/valid/_annotations.coco.json: is not the file that"
    )
    assert FakeChild.calls == calls


def test_a_damaged_journal_is_told(project: Path, cli: Cli) -> None:
    cli(*optimize())
    (project / "out" / "journal.sqlite").write_text("not a database at all")
    for arguments in (optimize(), ["status", "out"], ["report", "out"]):
        outcome = cli(*arguments)
        assert outcome.code == 2 and "journal.sqlite: the journal can't be used" in outcome.err


def test_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "smallsight", "optimize", "--config", "nowhere.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: nowhere.yaml: no such file. Give the path of a YAML file.\n"


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_strategy_refuses_data_that_have_changed(project: Path, cli: Cli, split: str) -> None:
    cli(*optimize())
    before = content_of(project / "out")
    file = project / "data" / split / "_annotations.coco.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2] -= 0.5
    file.write_text(json.dumps(content))
    outcome = cli(*optimize())
    assert outcome.code == 2
    assert outcome.err.startswith(
        f"Error: data/{split}/_annotations.coco.json: is not the file that the run in out began"
    )
    assert "use another --output-dir" in outcome.err and content_of(project / "out") == before


def test_a_strategy_refuses_images_that_were_replaced(project: Path, cli: Cli) -> None:
    cli(*optimize())
    image = project / "data" / "train" / "frame_000.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    outcome = cli(*optimize())
    assert outcome.code == 2
    assert outcome.err.startswith("Error: data/train: these are not the images that the run in out began with")


def test_images_that_are_new_to_a_folder_are_looked_into(project: Path, cli: Cli) -> None:
    cli("train", "--config", "run.yaml", "--output-dir", "out")
    write_coco_folder(project / "data" / "train", 3, (64, 48), seed=9)
    broken = project / "data" / "train" / "frame_001.jpg"
    broken.write_bytes(broken.read_bytes()[:40])
    calls = FakeChild.calls
    outcome = cli("train", "--config", "run.yaml", "--output-dir", "out")
    assert outcome.code == 2 and "frame_001.jpg" in outcome.err and FakeChild.calls == calls


def test_a_full_disk_is_told_without_a_traceback(project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out/report")

    monkeypatch.setattr("smallsight.commands.train.write_report", full)
    outcome = cli(*optimize())
    assert (outcome.code, outcome.err) == (
        1,
        "Error: out/report: No space left on device. Mend that, then run the same command again.\n",
    )
