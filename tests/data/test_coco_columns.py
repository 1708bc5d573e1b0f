"""Annotations as columns: what is a number there is the same, however many other values stand beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smallsight.data.coco_columns import columns_of, is_box
from smallsight.data.formats.numbers import is_number, whole

whole_numbers = st.integers(-(2**62), 2**62)
values = st.one_of(
    whole_numbers,
    st.sampled_from([None, True, "7", "x", 2.0, 2.5, math.nan, math.inf, 10**30, -(10**400), [], [1, 2], {}, 1e300]),
    st.lists(st.one_of(st.floats(-10, 10), whole_numbers, st.just(True), st.just(math.nan)), max_size=5),
)
entries = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "bbox", "area", "iscrowd"), values)))


@given(entries)
def test_each_value_is_judged_by_itself(rows: list[dict[str, Any]]) -> None:
    found = columns_of(rows)
    for index, row in enumerate(rows):
        number = whole(row.get("id"))
        assert found.ids.known[index] == (number is not None)
        assert found.ids.values[index] == (number or 0)
        assert found.has_box[index] == is_box(row.get("bbox"))
        if found.has_box[index]:
            assert found.boxes[index].tolist() == [float(value) for value in row["bbox"]]
        else:
            assert np.isnan(found.boxes[index]).all()
        area = row.get("area")
        sound = is_number(area) and area >= 0
        assert found.area_fits[index] == (sound or area is None)
        assert np.isnan(found.areas[index]) != sound
        crowd = row.get("iscrowd")
        assert found.crowd_fits[index] == (crowd in (0, 1, None))
        assert found.ignored[index] == (crowd in (0, 1) and bool(crowd))


@given(st.lists(whole_numbers, min_size=1))
def test_plain_numbers_take_the_fast_way_to_the_same_result(numbers: list[int]) -> None:
    plain = columns_of([{"id": number} for number in numbers]).ids
    mixed = columns_of([{"id": number} for number in (*numbers, "x")]).ids
    assert plain.values.tolist() == mixed.values[:-1].tolist() == numbers
    assert plain.known.all() and mixed.known.tolist() == [*[True] * len(numbers), False]
