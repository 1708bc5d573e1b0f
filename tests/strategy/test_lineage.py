"""Where the figures of a checkpoint stand that a phase by hand starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smallsight.run.given import GivenFile, Place, TrainedIn
from smallsight.strategy.lineage import (
    alike,
    followers,
    judged_against,
    measured,
    place_of,
    record_at,
    settings_before,
    wrote,
)
from strategy import states
from strategy.states import OLD, from_epoch, own, settings_of, state_of, trained

IMAGES = {"train": "t", "valid": "v", "valid images": "i"}
ONE = replace(trained("one", 40, 42), annotations=IMAGES)
LIGHT = own("models/checkpoints/checkpoint_epoch_41_lightweight.pth", "one", 41)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (LIGHT, Place(1, 1, 41)),
        (replace(LIGHT, in_mid_epoch=True), None),
        (replace(LIGHT, epoch=43), None),
        (replace(LIGHT, trained_in=None), None),
        (replace(LIGHT, trained_in=TrainedIn("another run", "one", 1)), None),
        (replace(LIGHT, trained_in=TrainedIn(states.RUN_ID, "one", 2)), None),
        (replace(LIGHT, trained_in=TrainedIn(states.RUN_ID, "two", 1)), None),
    ],
)
def test_the_epoch_that_a_file_holds(given: GivenFile, expected: Place | None) -> None:
    assert place_of(state_of(ONE), given) == expected


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"training__learning_rate": 0.1, "training__multi_scale": True, "training__batch_size": 1}, True),
        ({"evaluation__batch_size": 9, "evaluation__replicates": 200, "training__seed": 4}, True),
        ({"training__resolution": 736}, False),
        ({"evaluation__max_dets": 10}, False),
        ({"model__flip_average": True}, False),
        ({"dataset__category_name": "ball"}, False),
    ],
)
def test_what_makes_figures_comparable(changed: dict[str, Any], same: bool) -> None:
    assert alike(settings_of(), settings_of(**changed)) is same


def test_figures_on_other_images_are_none_of_this_file() -> None:
    state = state_of(ONE)
    assert measured(state, LIGHT, settings_of(), IMAGES) == Place(1, 1, 41)
    assert measured(state, LIGHT, settings_of(), {**IMAGES, "train": "another"}) == Place(1, 1, 41)
    for key in ("valid", "valid images"):
        assert measured(state, LIGHT, settings_of(), {**IMAGES, key: "another"}) is None


def test_a_file_that_was_measured_is_known_by_its_content() -> None:
    start = replace(states.measured(OLD, 39), annotations=IMAGES)
    state = state_of(start)
    renamed = replace(OLD, path="somewhere/else.pth")
    assert measured(state, renamed, settings_of(), IMAGES) == Place(1, 1, 39)
    assert measured(state, replace(OLD, sha256="c" * 64), settings_of(), IMAGES) is None
    assert measured(state, replace(OLD, sha256=""), settings_of(), IMAGES) is None
    assert measured(state_of(replace(start, closed=False)), OLD, settings_of(), IMAGES) is None
    mid = replace(LIGHT, in_mid_epoch=True)
    assert measured(state_of(ONE, replace(start, given=mid)), mid, settings_of(), IMAGES) == Place(2, 1, 39)


def test_what_a_phase_is_judged_against() -> None:
    again = from_epoch(states.measured(LIGHT, 41, training__resolution=736), 1, 41)
    state = state_of(ONE, again, states.measured(OLD, 39))
    assert judged_against(state, Place(1, 1, 40)) == Place(1, 1, 40)
    assert judged_against(state, Place(2, 1, 41)) == Place(1, 1, 41)
    assert judged_against(state, Place(3, 1, 39)) == Place(3, 1, 39)


def test_the_settings_that_a_start_was_trained_with() -> None:
    two = trained("two", 43, 44)
    state = state_of(ONE, from_epoch(two, 1, 42), states.measured(OLD, 39), from_epoch(two, 3, 39), two)
    known = [settings_before(state, state.runs[index]) for index in (1, 3, 4)]
    assert known == [ONE.attempts[0].settings, None, None]


def test_who_goes_on_from_a_phase() -> None:
    two, three = from_epoch(trained("two", 43, 44), 1, 42), from_epoch(trained("three", 42, 43), 1, 41)
    state = state_of(ONE, two, three)
    assert [(run.name, epoch) for run, epoch in followers(state, state.runs[0])] == [("two", 42), ("three", 41)]
    assert followers(state, state.runs[2]) == []


@pytest.mark.parametrize("place", [None, Place(9, 1, 40), Place(1, 2, 40), Place(1, 1, 39)])
def test_a_place_without_a_record(place: Place | None) -> None:
    assert record_at(state_of(ONE), place) is None


def test_what_a_phase_left_behind() -> None:
    state = state_of(ONE)
    assert wrote(state, state.runs[0], replace(LIGHT, in_mid_epoch=True))
    assert not wrote(state, state.runs[0], OLD)
    assert not wrote(state, state.runs[0], replace(LIGHT, trained_in=TrainedIn(states.RUN_ID, "one", 2)))
