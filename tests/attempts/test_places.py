"""How many attempts at the same time, and what each is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallsight.attempts.places import Machine, places_of, shared_out, variables_of
from training.frames import attempt_spec

CPUS_ONLY, GPUS = Machine(8), Machine(8, ("2", "3"))


@pytest.mark.parametrize(
    ("training", "machine", "workers", "expected"),
    [
        ({}, CPUS_ONLY, None, 8),
        ({}, CPUS_ONLY, 3, 3),
        ({"threads": 3}, CPUS_ONLY, None, 2),
        ({"threads": 16}, CPUS_ONLY, None, 1),
        ({"resources": {"cpu": 4}}, CPUS_ONLY, None, 2),
        ({"device": "cpu"}, GPUS, None, 8),
        ({}, GPUS, None, 1),
        ({"devices": 2}, GPUS, None, 2),
        ({"devices": 2}, GPUS, 4, 4),
    ],
)
def test_places(training: dict[str, Any], machine: Machine, workers: int | None, expected: int) -> None:
    assert places_of({"device": "auto", **training}, machine, workers) == expected


def spec_of(tmp_path: Path, **training: Any) -> Any:
    return replace(attempt_spec(tmp_path, {"training": training}), beside_others=True)


def test_an_attempt_beside_others_takes_one_device_and_as_many_images_per_step(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, devices=4, grad_accum_steps=2, device="cuda")
    training = shared_out(spec, True).config["training"]
    assert (training["devices"], training["grad_accum_steps"], training["threads"]) == (1, 8, 0)
    alone = replace(spec, beside_others=False)
    assert shared_out(alone, True) is alone


@pytest.mark.parametrize(
    ("training", "threads"), [({}, 1), ({"threads": 3}, 3), ({"resources": {"cpu": 2}}, 2), ({"device": "cuda"}, 0)]
)
def test_the_threads_of_an_attempt_do_not_depend_on_how_many_there_are(
    tmp_path: Path, training: dict[str, Any], threads: int
) -> None:
    """A CPU sums in another order with another number of threads."""
    assert shared_out(spec_of(tmp_path, **training), False).config["training"]["threads"] == threads


def test_each_place_has_its_device(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    assert [variables_of(spec, place, GPUS) for place in range(3)] == [
        {"CUDA_VISIBLE_DEVICES": name} for name in ("2", "3", "2")
    ]
    assert variables_of(spec, 0, CPUS_ONLY) == {}
    assert variables_of(spec_of(tmp_path, device="cuda:1"), 0, GPUS) == {}, "as the user says"
    assert variables_of(replace(spec, beside_others=False), 0, GPUS) == {}
