"""How figures are written for people."""

from __future__ import annotations

import math

import pytest

from smallsight.records import Estimate, gigabytes, shown


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (0.25, ".3f", "0.250"),
        (0.25, "+.3f", "+0.250"),
        (-0.25, "+.3f", "-0.250"),
        (-0.0004, "+.3f", "+0.000"),
        (-0.0004, ".3f", "0.000"),
        (-0.0, "g", "0"),
        (-0.0006, "+.3f", "-0.001"),
        (math.nan, "+.3f", "n/a"),
    ],
)
def test_what_rounds_to_zero_has_no_minus(value: float, spec: str, text: str) -> None:
    assert shown(value, spec) == f"{Estimate(value):{spec}}" == text


def test_an_interval_has_none_either() -> None:
    assert f"{Estimate(-1e-5, -0.0002, 0.01):+.3f}" == "+0.000 [+0.000, +0.010]"
    assert f"{Estimate(-0.01, -0.02, -1e-9)}" == "-0.010 [-0.020, 0.000]"


@pytest.mark.parametrize(
    ("limit_mb", "text"),
    [(None, "1.5 GB"), (24_100.0, "1.5 of 24 GB"), (7_840.0, "1.5 of 7.8 GB"), (1600, "1.5 of 1.6 GB")],
)
def test_memory_beside_its_limit(limit_mb: float | None, text: str) -> None:
    assert gigabytes(1500.0, limit_mb) == text
