"""Numbers as tools write them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.data.formats.numbers import decimal, whole


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *((3, 3), (3.0, 3), ("3", 3), ("3.0", 3), ("3.", 3), (" 3 ", 3), ("0003", 3), ("-3", -3), ("+3", 3), ("0", 0)),
        *((0.0, 0), (-0.0, 0), ("00", 0), (2**62, 2**62)),
        *((None, None), (True, None), (False, None), ("", None), ("three", None), ("3a", None), ("3 4", None)),
        *((2.5, None), ("2.5", None), ("3e2", None), ("0x3", None), ("1_000", None), ("\u0663", None), ("3.0.0", None)),
        *((math.nan, None), (math.inf, None), ("nan", None), ("inf", None), (10**400, None), ("9" * 5000, None)),
        *(([3], None), ({}, None)),
    ],
)
def test_whole_numbers(value: Any, meant: int | None) -> None:
    found = whole(value)
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *((3, 3), (2.5, 2.5), ("2.5", 2.5), (" -.5 ", -0.5), ("1e-3", 0.001), ("3", 3)),
        *((None, None), (True, None), ("", None), (".", None), ("1e999", None), ("nan", None), ("1,5", None)),
        *((math.nan, None), ([1], None), ("1" * 5000, None)),
    ],
)
def test_decimals(value: Any, meant: float | None) -> None:
    assert decimal(value) == meant


@given(st.integers(-(2**53), 2**53))
def test_what_python_writes_of_a_whole_number_is_read_back(number: int) -> None:
    assert whole(str(number)) == whole(f"{number}.0") == whole(number) == decimal(str(number)) == number


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.booleans(), st.none()))
def test_any_value_is_answered_by_a_number_or_by_none(value: Any) -> None:
    assert type(whole(value)) in (int, type(None))
    assert type(decimal(value)) in (int, float, type(None))
