"""Building detectors of any kind: makers that are broken, and files that are no detector's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from packages import importable, install
from smallsight.config.load import build_config
from smallsight.detectors.build import build_detector, descriptions_of, detector_from_description
from smallsight.detectors.foreign import ForeignFile
from smallsight.detectors.nano.network import NanoDetector
from smallsight.errors import CheckpointError, ConfigError

RECORD = """
from smallsight.config.detector_kind import DetectorKind, Size
RECORD = DetectorKind("dots", "Dots", "dots.network:Made", (Size("", "Dots", 8, 32),), False, False)
"""


def install_dots(folder: Path, network: str) -> None:
    files = {"dots/__init__.py": RECORD, "dots/network.py": network}
    install(folder, "a-dots", {"dots": "dots:RECORD"}, files)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("import no_such_package", r"can't be loaded \(ModuleNotFoundError: .*\)\. Repair or uninstall"),
        ("", r"can't be loaded \(AttributeError: .*\)\. Repair or uninstall its package\.$"),
        ("Made = dict", "is a dict; expected a class derived from Maker. Correct it there"),
    ],
)
def test_a_broken_maker_is_named(tmp_path: Path, network: str, message: str) -> None:
    install_dots(tmp_path, network)
    with importable(tmp_path):
        config = build_config({"model": {"detector": "dots"}}, "run.yaml")
        with pytest.raises(ConfigError, match="^model.detector: dots.network:Made, the maker of dots, " + message):
            build_detector(config, ["ball"], "run.yaml")


def test_a_file_that_only_a_broken_package_may_know(tmp_path: Path) -> None:
    """Files of ours are read all the same."""
    install_dots(tmp_path, "import no_such_package")
    ours = ForeignFile(Path("a.pth"), NanoDetector(("ball",), width=0.5).state_dict())
    with importable(tmp_path):
        assert descriptions_of(ours) == [{"detector": "nano", "width": 0.5, "flip_average": False}]
        with pytest.raises(ConfigError, match="the maker of dots, can't be loaded"):
            descriptions_of(ForeignFile(Path("a.pth"), {"weight": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"a.pth: .* expected the embedded detector or RF-DETR\. Give"):
        descriptions_of(ForeignFile(Path("a.pth"), {"weight": torch.zeros(1)}))


def test_a_checkpoint_of_a_detector_that_is_not_installed() -> None:
    with pytest.raises(CheckpointError, match=r"^a.pth: holds a 'dots' detector; this version knows: nano, rfdetr\."):
        detector_from_description({"detector": "dots", "class_names": ["ball"]}, "a.pth")


@pytest.mark.parametrize("size", ["huge", None, ["base"]])
def test_a_size_that_there_is_not(size: object) -> None:
    with pytest.raises(CheckpointError, match=r"a.pth: detector: got the size .*, expected one of tiny, nano, small"):
        detector_from_description({"detector": "rfdetr", "size": size, "class_names": ["ball"]}, "a.pth")
