"""docs/extending.md: the package on the page keeps the contract and trains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from detectors.contract import DetectorContract
from packages import importable, install
from smallsight.config.load import load_config, with_settings
from smallsight.detectors.base import Detector
from smallsight.detectors.build import build_detector, detector_from_description, refuse_other_network
from smallsight.detectors.checkpoint import load_checkpoint, load_weights
from smallsight.detectors.foreign import ForeignFile
from smallsight.errors import CheckpointError, ConfigError
from smallsight.run.fold import read_state
from smallsight.strategy.plan import build_plan
from smallsight.strategy.plan_check import check_plan
from training.frames import write_data
from waiting import HANGS_S

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
POINTS = r'\[project\.entry-points\."smallsight\.detectors"\]\n(\w+) = "(\S+)"\n'
NAME = r'\[project\]\nname = "(\S+)"\n'


def written() -> dict[str, str]:
    """The files that stand on the page, by path."""
    return dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the page's package is installed, as a user's environment has it."""
    folder, files = tmp_path_factory.mktemp("site"), written()
    project = files["pyproject.toml"]
    (package,), points = re.findall(NAME, project), dict(re.findall(POINTS, project))
    install(folder, package, points, files)
    with importable(folder):
        yield folder


class TestSpots(DetectorContract):
    def detector(self) -> Detector:
        torch.manual_seed(0)
        return detector_from_description({"detector": "spots", "class_names": ["ball", "player"], "channels": 8}, "t")


def test_a_frame_that_is_no_square_is_detected_in_its_own_px(site: Path) -> None:
    """The contract asks for boxes inside the image; here the one of an object that is certain, to the pixel."""
    detector = TestSpots().detector().eval()
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.zero_()
        detector.get_submodule("head").bias[0] = 9.0  # type: ignore[operator]
    (found,) = detector.detect(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), [(160, 32)])
    assert sorted(map(list, found.boxes[:4].tolist())) == [
        [0, 0, 80, 16],
        [0, 16, 80, 32],
        [80, 0, 160, 16],
        [80, 16, 160, 32],
    ]


def test_its_keys_are_checked(site: Path) -> None:
    config = load_config(site / "spots.yaml").config
    assert config.model.options == {"channels": 24}
    assert with_settings(config, {"model.options": {}}, "t").model.options == {"channels": 16}
    for key, message in (
        ("chanels", "model.options.chanels: unknown key. Did you mean channels?"),
        ("channels", "model.options.channels: got 2, expected a whole number from 4 up to 512. Use 16, for example."),
    ):
        with pytest.raises(ConfigError) as caught:
            load_config(site / "spots.yaml", [f"model.options.{key}=2"])
        assert str(caught.value) == message
    with pytest.raises(ConfigError, match=r"training.resolution: Spots needs a multiple of 8; got 100. Use 96 or 104."):
        load_config(site / "spots.yaml", ["training.resolution=100"])


def test_a_configuration_that_names_it_loads_no_torch(site: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from pathlib import Path; from smallsight.config.load import load_config\n"
        f"assert load_config(Path({str(site / 'spots.yaml')!r})).config.model.detector == 'spots'\n"
        "assert 'smallsight_spots' in sys.modules and not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS_S)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_seed_alone_decides_its_weights(site: Path) -> None:
    config = load_config(site / "spots.yaml").config
    first, second, third = (
        build_detector(with_settings(config, {"training.seed": seed}, "t"), ["ball"], "t").state_dict()["head.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_a_phase_changes_its_keys(site: Path) -> None:
    config = load_config(site / "spots.yaml").config
    phases = [
        {"name": "set", "epochs": 1, "set": {"model.options.channels": 12}},
        {"name": "scaled", "epochs": 1, "scale": {"model.options.channels": 0.5}},
    ]
    plan = build_plan({"phases": phases}, "strategy")
    assert check_plan(plan, config, "strategy") == []
    changed = [with_settings(config, phase.settings(config), "t").model.options for phase in plan.phases]
    assert changed == [{"channels": 12}, {"channels": 12}]
    wrong = build_plan({"phases": [{**phases[0], "set": {"model.options.chanels": 12}}]}, "strategy")
    with pytest.raises(ConfigError, match=r"strategy: phase set: model.options.chanels: unknown key\. Did you"):
        check_plan(wrong, config, "strategy")


def test_it_starts_from_no_file_of_another_trainer(site: Path) -> None:
    detector, config = TestSpots().detector(), load_config(site / "spots.yaml").config
    file = ForeignFile(Path("a.pth"), detector.state_dict())
    words = "a.pth: Spots starts from no file of another trainer. Give a checkpoint of smallsight."
    for ask in (lambda: detector.class_outputs(file, None, None), lambda: detector.start_from(file, [0])):
        with pytest.raises(CheckpointError, match=words):
            ask()
    with pytest.raises(CheckpointError, match="expected the embedded detector, RF-DETR or Spots"):
        refuse_other_network(file, config)


def test_an_epoch_from_the_command_line(site: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    command = [
        *(sys.executable, "-m", "smallsight", "train", "--config", str(site / "spots.yaml")),
        *("--output-dir", str(tmp_path / "run"), "model.options.channels=8"),
        *("training.resolution=96", "training.batch_size=4", "training.epochs=1", "training.threads=1"),
        *("training.device=cpu", "evaluation.replicates=100"),
        *(f"dataset.coco_train_path={data / 'train'}", f"dataset.coco_val_path={data / 'valid'}"),
    ]
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGS_S)
    assert done.returncode == 0, done.stderr
    (record,) = read_state(tmp_path / "run").records
    assert record.epoch == 1 and record.loss_parts.keys() == {"objects", "background"}
    best = tmp_path / "run" / "checkpoint_best.pth"
    content = load_checkpoint(best)
    detector = detector_from_description(content["detector"], str(best))
    load_weights(detector, content["model"], best)
    assert dict(detector.description()) == {"detector": "spots", "class_names": ["ball"], "channels": 8}
