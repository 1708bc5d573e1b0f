"""What the system tells of memory: this process alone, and no more than a container has."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from smallsight.training import machine
from smallsight.training.machine import available_mb, left_in_container_mb, peak_resident_mb, resident_mb


def test_the_peak_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system hands a process's peak on to those that it starts."""
    monkeypatch.setattr(machine.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=10**9))
    assert resident_mb() * 0.9 < peak_resident_mb() < 10**5
    assert available_mb() > 0


def group(folder: Path, names: tuple[str, str], limit: str, used_mb: int, droppable_mb: int, key: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used_mb * 10**6}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{key} {droppable_mb * 10**6}\n")


TWO, ONE = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")


@pytest.mark.parametrize(
    ("line", "place", "names", "key"),
    [
        ("0::/", ".", TWO, "inactive_file"),
        ("0::/job/step", "job/step", TWO, "inactive_file"),
        ("0::/job/step", "job", TWO, "inactive_file"),
        ("4:memory,cpu:/job", "memory/job", ONE, "total_inactive_file"),
        ("4:memory:/docker/as/the/host/sees/it", "memory", ONE, "total_inactive_file"),
    ],
)
def test_a_container_has_less_than_the_machine(
    tmp_path: Path, line: str, place: str, names: tuple[str, str], key: str
) -> None:
    (tmp_path / "cgroup").write_text(f"1:cpu:/\n{line}\n")
    group(tmp_path / "fs" / place, names, str(8 * 10**9), 3000, 500, key)
    assert left_in_container_mb(tmp_path / "cgroup", tmp_path / "fs") == 5500.0


def test_the_tightest_of_several_counts(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/job/step\n")
    group(tmp_path / "fs" / "job", TWO, str(2 * 10**9), 1500, 0, "inactive_file")
    group(tmp_path / "fs" / "job" / "step", TWO, "max", 100, 0, "inactive_file")
    assert left_in_container_mb(tmp_path / "cgroup", tmp_path / "fs") == 500.0


@pytest.mark.parametrize("text", [None, "", "0::/\n", "1:cpu:/\n"])
def test_where_nothing_is_limited_nothing_is(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "cgroup").write_text(text)
    assert left_in_container_mb(tmp_path / "cgroup", tmp_path / "fs") == math.inf
