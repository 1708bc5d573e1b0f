"""The records of the detectors, and those that installed packages bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from packages import importable, install
from smallsight.config.detector_kind import DetectorKind
from smallsight.config.detectors import NANO, RFDETR, detector_names, named_in
from smallsight.config.load import build_config, detector_of, refuse_unavailable, training_scales, with_settings
from smallsight.errors import ConfigError

SIZES = {size.name: size for size in RFDETR.sizes}


def error_of(size: str, resolution: int) -> str | None:
    return RFDETR.resolution_error(SIZES[size], resolution)


@pytest.mark.parametrize(
    ("size", "resolution", "advice"),
    [
        ("base", 1120, None),
        ("base", 1288, None),
        ("base", 1130, "RF-DETR base needs a multiple of 56; got 1130. Use 1120 or 1176."),
        ("large", 1120, None),
        ("large", 1280, None),
        ("large", 1288, "RF-DETR large needs a multiple of 32; got 1288. Use 1280 or 1312."),
        ("base", 280, None),
        (
            "base",
            224,
            "RF-DETR base has 300 queries, each with a patch of its own; got 224, expected 280 or more. Use 280.",
        ),
        ("nano", 288, None),
        ("tiny", 64, None),
        ("tiny", 32, "RF-DETR tiny has 16 queries, each with a patch of its own; got 32, expected 64 or more. Use 64."),
    ],
)
def test_which_resolutions_a_size_takes(size: str, resolution: int, advice: str | None) -> None:
    assert error_of(size, resolution) == advice


def test_a_resolution_that_does_not_fit_is_refused_wherever_it_is_set() -> None:
    content = {"model": {"rfdetr_size": "base"}, "training": {"resolution": 1130}}
    with pytest.raises(ConfigError, match=r"run.yaml: training.resolution: RF-DETR base .* Use 1120 or 1176\."):
        build_config(content, "run.yaml")
    fits = build_config({**content, "training": {"resolution": 1120}}, "run.yaml")
    with pytest.raises(ConfigError, match=r"phase larger: training.resolution: RF-DETR base needs"):
        with_settings(fits, {"training.resolution": 1280}, "phase larger")
    assert build_config({"training": {"resolution": 1130}}, "run.yaml").model.detector == "nano"


@pytest.mark.parametrize("size", SIZES)
def test_every_scale_of_a_training_is_legal(size: str) -> None:
    step = SIZES[size].step_px
    training = {"resolution": 20 * step, "multi_scale": True, "expanded_scales": True}
    made = build_config({"model": {"rfdetr_size": size}, "training": training}, "run.yaml")
    scales = training_scales(made, step)
    assert len(scales) > 5 and all(error_of(size, scale) is None for scale in scales)


def test_multi_scale_training_goes_no_lower_than_the_queries_allow() -> None:
    training = {"resolution": 336, "multi_scale": True, "expanded_scales": True}
    made = build_config({"model": {"rfdetr_size": "base"}, "training": training}, "run.yaml")
    assert training_scales(made, 56) == (280, 336, 392)


def test_without_the_library_the_answer_is_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = build_config({"model": {"rfdetr_size": "tiny"}}, "run.yaml")
    refuse_unavailable(made, "run.yaml")
    monkeypatch.setattr(DetectorKind, "is_installed", lambda kind: kind is NANO)
    with pytest.raises(ConfigError, match=r"run.yaml: model.detector: .* pip install 'smallsight\[rfdetr\]'"):
        refuse_unavailable(made, "run.yaml")
    refuse_unavailable(build_config({}, "run.yaml"), "run.yaml")


# Detectors that installed packages bring

RECORD = """
from smallsight.config.detector_kind import DetectorKind, Size
RECORD = DetectorKind("{name}", "Dots", "dots.network:Maker", (Size("", "Dots", 8, 32),), False, False)
"""


def record(name: str) -> str:
    return RECORD.format(name=name)


def failure(name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        build_config({"model": {"detector": name}}, "run.yaml")
    return str(caught.value)


def test_a_package_brings_a_detector(tmp_path: Path) -> None:
    install(tmp_path, "a-dots", {"dots": "dots:RECORD"}, {"dots/__init__.py": record("dots")})
    with importable(tmp_path):
        made = build_config({"model": {"detector": "dots"}}, "run.yaml")
        assert detector_of(made).title == "Dots" and detector_names() == ("nano", "rfdetr", "dots")
    assert failure("dots") == (
        "run.yaml: model.detector: got 'dots', expected nano or rfdetr. Install the package that brings it."
    )


def test_an_unknown_name_gets_the_nearest_one_and_loads_no_package(tmp_path: Path) -> None:
    install(tmp_path, "a-dots", {"dots": "dots:RECORD"}, {"dots/__init__.py": "raise AssertionError('loaded')"})
    with importable(tmp_path):
        assert failure("dotts") == (
            "run.yaml: model.detector: got 'dotts', expected nano, rfdetr or dots. Did you mean dots?"
        )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_package", "can't be loaded (ModuleNotFoundError: No module named 'no_such_package')"),
        ("RECORDS = 1", "can't be loaded (AttributeError: module 'dots' has no attribute 'RECORD')"),
        ("def", "can't be loaded (SyntaxError: invalid syntax (__init__.py, line 1))"),
        (
            record("dots").replace("False)", "True)"),
            "can't be loaded (ValueError: dots: keeps_aspect and trains_on_crops",
        ),
        ("RECORD = 5", "got int at dots:RECORD, expected its own record. Correct it there."),
        (record("spots"), "got the record of spots at dots:RECORD, expected its own record. Correct it there."),
    ],
)
def test_a_broken_package_is_named(tmp_path: Path, text: str, reason: str) -> None:
    install(tmp_path, "a-dots", {"dots": "dots:RECORD"}, {"dots/__init__.py": text})
    with importable(tmp_path):
        found = failure("dots")
    start = "run.yaml: model.detector: dots of the package a-dots"
    assert found.startswith(f"{start} {reason}") or found.startswith(f"{start}: {reason}")
    assert found.endswith("Repair or uninstall it.") or found.endswith("Correct it there.")


def test_a_name_that_two_packages_bring(tmp_path: Path) -> None:
    for package in ("a-dots", "b-dots"):
        install(tmp_path, package, {"dots": "dots:RECORD"}, {"dots/__init__.py": record("dots")})
    with importable(tmp_path):
        assert failure("dots") == "run.yaml: model.detector: dots comes from a-dots and b-dots. Uninstall all but one."
        assert detector_names() == ("nano", "rfdetr", "dots")


def test_a_name_of_ours_stays_ours(tmp_path: Path) -> None:
    install(tmp_path, "a-dots", {"nano": "dots:RECORD"}, {"dots/__init__.py": record("nano")})
    with importable(tmp_path):
        assert detector_of(build_config({}, "run.yaml")) is NANO and detector_names() == ("nano", "rfdetr")


def test_packages_are_looked_for_only_where_a_name_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(**_: str) -> None:
        raise AssertionError("looked for packages")

    monkeypatch.setattr("smallsight.config.detectors.entry_points", looked)
    for model in ({}, {"detector": "nano"}, {"rfdetr_size": "tiny"}):
        build_config({"model": model}, "run.yaml")
    with pytest.raises(AssertionError, match="looked for packages"):
        build_config({"model": {"detector": "dots"}}, "run.yaml")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({}, "nano"),
        ({"width": 2}, "nano"),
        ({"rfdetr_size": "small"}, "rfdetr"),
        ({"rfdetr_size": "small", "width": 2}, "rfdetr"),
        ({"rfdetr_size": "base", "detector": "nano"}, "nano"),
    ],
)
def test_the_detector_that_a_section_names(model: dict[str, object], name: str) -> None:
    assert named_in(model) == name
    assert build_config({"model": model}, "run.yaml").model.detector == name


def test_options_of_a_detector_that_has_none() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({"model": {"options": {"depth": 3}}}, "run.yaml")
    assert str(caught.value) == (
        "run.yaml: model.options: got depth, expected no keys: the embedded detector has none. Leave them out."
    )
