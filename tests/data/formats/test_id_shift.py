"""Ids that all are one too low or too high."""

from __future__ import annotations

import pytest

from smallsight.data.formats.id_shift import parse_shift, shift_fault
from smallsight.errors import DatasetError


@pytest.mark.parametrize(
    ("used", "known", "by"),
    [
        ({0}, {1}, 1),
        ({0, 1, 4}, {1, 2, 5, 9}, 1),
        ({1, 2}, {0, 1}, -1),
        ({1}, {1, 2}, None),
        (set(), {1}, None),
        ({0, 3}, {1, 2}, None),
        ({5}, {1}, None),
        ({-1, 1}, {0, 1, 2}, None),  # -1 is a mark of its own
        ({5}, {6}, None),
        ({0, 3}, {0, 1, 4}, None),  # both count from 0
        ({1}, set(), None),
    ],
)
def test_a_shift_is_told(used: set[int], known: set[int], by: int | None) -> None:
    found = shift_fault("category_id", used, known)
    assert (None if found is None else found.by) == by
    if found is not None:
        assert f"--shift category_id={by}." in found.sentence
        assert {number + found.by for number in used} <= known


def test_the_sentence() -> None:
    found = shift_fault("image_id", {0, 7}, {1, 8})
    assert found is not None and found.sentence == (
        "every image_id is one too low: annotations name 0 to 7, the file has 1 to 8. To add 1 to each, run smallsight "
        "convert with --shift image_id=1."
    )


@pytest.mark.parametrize(
    ("text", "shift"),
    [("image_id=1", ("image_id", 1)), ("category_id=-1", ("category_id", -1)), ("image_id=+3", ("image_id", 3))],
)
def test_options(text: str, shift: tuple[str, int]) -> None:
    assert parse_shift(text) == shift


@pytest.mark.parametrize("text", ["", "image_id", "image_id=", "id=1", "image_id=x", "image_id=1.5", "image_id=--1"])
def test_an_option_that_is_none(text: str) -> None:
    with pytest.raises(DatasetError, match="expected image_id=N or category_id=N"):
        parse_shift(text)
