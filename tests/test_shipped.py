"""Everything that is shipped works: each YAML file loads, each script runs, each command in the docs parses."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from smallsight.cli import app
from smallsight.config.load import load_config, with_settings
from smallsight.strategy.plan import load_plan
from smallsight.strategy.plan_check import check_plan
from smallsight.strategy.treatment import flatten
from waiting import HANGS_S

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
STRATEGIES = sorted((ROOT / "strategies").glob("*.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MISSION = {
    "resume_20_epochs_low_memory": (1120, False, 40, 50),
    "resume_with_multiscale": (1120, True, 50, 60),
    "resume_with_higher_resolution": (1288, True, 60, 70),
}


def documented_commands() -> list[str]:
    """Each `smallsight ...` line in a shell block of the docs, continued lines joined."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.match(r"(?:\S*/)?smallsight (.*)", line.strip())
                if match:
                    found.append(match[1].split("#")[0].strip())
    return found


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_configuration_loads(path: Path) -> None:
    assert load_config(path).config.training.epochs > 0


@pytest.mark.parametrize("path", STRATEGIES, ids=lambda path: path.stem)
def test_each_strategy_loads_and_fits_each_configuration(path: Path) -> None:
    plan = load_plan(path)
    for config in CONFIGS:
        check_plan(plan, load_config(config).config, str(path))


@pytest.mark.parametrize("path", STRATEGIES, ids=lambda path: path.stem)
def test_each_shipped_phase_says_what_is_done_about_its_risk(path: Path) -> None:
    assert [phase.name for phase in load_plan(path).phases if not phase.mitigation] == []


@pytest.mark.parametrize("name", MISSION)
def test_the_missions_configurations_have_its_values(name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.yaml").config
    t = config.training
    assert (t.resolution, t.multi_scale, config.checkpoint.start_epoch, t.epochs) == MISSION[name]
    assert (t.batch_size, t.grad_accum_steps, t.learning_rate, t.weight_decay) == (2, 20, 0.0002, 0.0001)
    assert (t.gradient_clip, t.mixed_precision, t.expanded_scales, t.num_workers) == (0.1, True, False, 1)
    assert (config.model.detector, config.model.rfdetr_size) == ("rfdetr", "base")


def test_the_default_strategy_is_the_missions() -> None:
    plan = load_plan(ROOT / "strategies" / "small_objects.yaml")
    config = load_config(ROOT / "configs" / "resume_20_epochs_low_memory.yaml").config
    phases = {phase.name: phase for phase in plan.phases}
    assert (plan.target.minimum, plan.target.success, plan.target.optimal) == (0.65, 0.70, 0.75)
    assert (plan.guard.metric, plan.guard.floor) == ("map_50_95", 0.68)
    assert [phases[name].risk for name in ("continue", "multi_scale", "higher_resolution", "lr_decay_half")] == [
        *("low", "medium", "high", "low"),
    ]
    assert phases["higher_resolution"].settings(config) == {"training.resolution": 1288}
    half = with_settings(config, phases["lr_decay_half"].settings(config), "test")
    assert half.training.learning_rate == pytest.approx(0.0001)
    assert phases["lr_decay_tenth"].settings(half) == {"training.learning_rate": pytest.approx(0.00001)}


def test_the_field_strategy_tries_first_what_helped_most() -> None:
    config = load_config(ROOT / "configs" / "resume_20_epochs_low_memory.yaml").config
    phases = load_plan(ROOT / "strategies" / "field.yaml").phases
    first = flatten(with_settings(config, phases[0].settings(config), "test").to_dict()["augmentation"])
    steps = ("copy_paste", "motion_blur", "gaussian_blur", "iso_noise", "jpeg_compression", "downscale")
    assert all(first[f"{step}.enabled"] for step in steps)
    tried = [phase for phase in phases if not phase.when.any_of]
    assert [[*phase.set, *phase.scale] for phase in tried[1:]] == [
        ["training.resolution"],
        ["training.multi_scale"],
        ["augmentation.zoom.enabled"],
        ["sampling.oversample"],
        ["sampling.loss_fed"],
        ["training.learning_rate"],
        ["training.learning_rate"],
    ]
    assert tried[1].settings(config) == {"training.resolution": 1288}
    gains = [sum(phase.expected_gain) for phase in tried[:3] if phase.expected_gain]
    assert gains == sorted(gains, reverse=True) and len(gains) == 3
    halves = [phase for phase in phases if phase.when.any_of]
    both = {key for phase in halves for key in phase.set}
    assert both == {*phases[0].set}, "each half alone, where both together were not kept"


@pytest.mark.parametrize("command", documented_commands())
def test_each_documented_command_parses(command: str) -> None:
    name, *arguments = shlex.split(command)
    group = typer.main.get_command(app)
    subcommand = group.commands[name]  # type: ignore[attr-defined]
    subcommand.make_context(name, arguments).close()


def test_documented_commands_are_found() -> None:
    assert len(documented_commands()) >= 2


def script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=HANGS_S,
    )


def test_the_evaluation_script_reads_a_history_and_the_missions_snippet_reads_its_report(tmp_path: Path) -> None:
    rows = {str(epoch): {"map_small": 0.5 + epoch / 1000, "map_50_95": 0.6, "map_50": 0.9} for epoch in range(20, 30)}
    path = tmp_path / "training_evaluation_detailed.json"
    path.write_text(json.dumps({"metrics": rows}))
    done = script("comprehensive_training_evaluation.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "map_small" in done.stdout
    data = json.loads(path.read_text())
    last_epoch = max(int(key) for key in data["metrics"])
    assert f"{data['metrics'][str(last_epoch)]['map_small']:.4f}" == "0.5290"


def test_the_evaluation_script_says_where_it_looked(tmp_path: Path) -> None:
    done = script("comprehensive_training_evaluation.py", cwd=tmp_path)
    assert done.returncode == 2 and "models: no run there" in done.stderr and "Traceback" not in done.stderr


def test_the_training_script_says_what_is_missing(tmp_path: Path) -> None:
    config = str(ROOT / "configs" / "resume_20_epochs_low_memory.yaml")
    arguments = ["--config", config, "--output-dir", "models", "--resume", "models/checkpoint.pth"]
    done = script("train_ball.py", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and "the environment variable SMALLSIGHT_DATA is not set" in done.stderr
    assert not (tmp_path / "models").exists()


def test_the_evaluation_script_leaves_a_given_historys_report_here(tmp_path: Path) -> None:
    (tmp_path / "recorded").mkdir()
    given = tmp_path / "recorded" / "history.json"
    given.write_text(json.dumps({"metrics": {"20": {"map_small": 0.5}, "21": {"map_small": 0.51}}}))
    done = script("comprehensive_training_evaluation.py", str(given), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "training_evaluation_detailed.json").read_text())
    assert data["metrics"]["21"]["map_small"] == 0.51
