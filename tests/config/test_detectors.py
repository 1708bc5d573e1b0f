"""The records of the detectors, and those that installed packages bring."""

from __future__ import annotations

import pytest

from smallsight.config.detector_kind import DetectorKind
from smallsight.config.detectors import NANO, RFDETR
from smallsight.config.load import build_config, refuse_unavailable, training_scales, with_settings
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
