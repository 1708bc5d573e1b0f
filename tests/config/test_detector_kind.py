"""What a detector's record says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.config.detector_kind import CROP_KEYS, KEYS_OF_SOME, DetectorKind, Size, model_size_wh
from smallsight.config.sections import Model

SMALL, LARGE = Size("small", "Spots small", 8, 64), Size("large", "Spots large", 32, 96)
SPOTS = DetectorKind(
    name="spots",
    title="Spots",
    maker="spots.network:SpotsMaker",
    sizes=(SMALL, LARGE),
    keeps_aspect=False,
    trains_on_crops=False,
    size_key="options.size",
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": ()}, "spots: sizes: got none"),
        ({"keeps_aspect": True}, "spots: keeps_aspect and trains_on_crops differ"),
        ({"trains_on_crops": True}, "spots: keeps_aspect and trains_on_crops differ"),
        ({"maker": "spots.network"}, "spots: maker: got 'spots.network', expected package.module:Class"),
        ({"options": dict}, "spots: options: got dict, expected a subclass of Section"),
        ({"keys": ("training.epochs",)}, "spots: keys: got training.epochs, expected some of model.width"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SPOTS, **changes)


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        ({}, ()),
        ({"keys": ("model.flip_average",), "size_key": "width"}, ("model.flip_average", "model.width")),
        ({"keeps_aspect": True, "trains_on_crops": True}, CROP_KEYS),
        ({"checkpoints_activations": True}, ("training.activation_checkpointing",)),
        ({"takes_pretrained": True}, ("model.pretrained",)),
    ],
)
def test_the_keys_that_act_follow_from_the_record(changes: dict[str, Any], used: tuple[str, ...]) -> None:
    assert {*replace(SPOTS, **changes).unused_keys} == {*KEYS_OF_SOME} - {*used}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"options": {"size": "large"}}, LARGE),
        (Model(options={"size": "large"}), LARGE),
        ({"options": {"size": "huge"}}, SMALL),
        ({"options": {}}, SMALL),
        ({"options": [1]}, SMALL),
        ({}, SMALL),
        (Model(), SMALL),
    ],
)
def test_the_size_that_a_configuration_names(model: object, expected: Size) -> None:
    assert SPOTS.size_in(model) == expected
    assert replace(SPOTS, size_key="").size_named(model) is None


@pytest.mark.parametrize(
    ("keeps_aspect", "px", "error"),
    [
        (False, 96, None),
        (False, 100, "Spots large needs a multiple of 32; got 100. Use 96 or 128."),
        (False, 64, "Spots large trains on no smaller frames; got 64, expected 96 or more. Use 96."),
        (True, 100, None),
        (True, 90, "Spots large trains on no smaller frames; got 90, expected 96 or more. Use 96."),
    ],
)
def test_which_resolutions_it_takes(keeps_aspect: bool, px: int, error: str | None) -> None:
    kind = replace(SPOTS, keeps_aspect=keeps_aspect, trains_on_crops=keeps_aspect)
    assert kind.resolution_error(LARGE, px) == error


def test_a_package_that_it_needs() -> None:
    assert SPOTS.is_installed() and replace(SPOTS, package="numpy").is_installed()
    assert not replace(SPOTS, package="no_such_package").is_installed()


# The frame as the network sees it


@pytest.mark.parametrize(
    ("size_wh", "resolution", "step", "keeps_aspect", "expected"),
    [
        ((1920, 1080), 640, 32, True, (640, 352)),
        ((1080, 1920), 640, 32, True, (352, 640)),
        ((640, 360), 640, 8, True, (640, 360)),
        ((640, 640), 320, 32, True, (320, 320)),
        ((2000, 10), 320, 32, True, (320, 32)),
        ((1920, 1080), 1120, 56, False, (1120, 1120)),
    ],
)
def test_size_of_the_model_frame(
    size_wh: tuple[int, int], resolution: int, step: int, keeps_aspect: bool, expected: tuple[int, int]
) -> None:
    assert model_size_wh(size_wh, resolution, step, keeps_aspect=keeps_aspect) == expected


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([8, 32, 56]), st.integers(1, 40))
def test_sides_of_the_model_frame_are_multiples_of_the_step(width: int, height: int, step: int, times: int) -> None:
    size = model_size_wh((width, height), step * times, step, keeps_aspect=True)
    assert max(size) == step * times
    assert min(size) >= step
    assert all(side % step == 0 for side in size)
