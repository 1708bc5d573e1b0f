"""`batch_size: auto`, and the probe as an attempt meets it: it changes nothing that is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smallsight.training import fit, probing
from smallsight.training.checkpoint import load_checkpoint
from smallsight.training.fit import run_attempt
from smallsight.training.memory import Probe
from training.frames import attempt_spec, tiny_settings, write_data
from training.test_fit import Recorder, same_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def test_an_attempt_is_the_same_with_and_without_a_probe(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(data, multi_scale=True, epochs=1)
    one, other = attempt_spec(tmp_path / "with", settings, last=1), attempt_spec(tmp_path / "without", settings, last=1)
    probed, plain = Recorder(), Recorder()
    run_attempt(one, probed)
    monkeypatch.setattr(fit, "_probe", lambda state: None)
    run_attempt(other, plain)
    assert probed.records == plain.records and same_weights(one.checkpoint, other.checkpoint)
    (told,) = [event["probe"] for event in probed.events if event["event"] == "memory"]
    assert told["batch_size"] == 4 and 0 < told["peak_mb"] < told["limit_mb"]
    assert not [event for event in plain.events if event["event"] == "memory"]


def limited_to(size: int, tried: list[int]) -> Any:
    def instead(*arguments: Any) -> Probe:
        tried.append(arguments[-1])
        if arguments[-1] > size:
            raise MemoryError
        return Probe(arguments[-1], 1.0, 1000.0)

    return instead


def test_the_batch_is_chosen_once_and_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(probing, "try_hardest", limited_to(3, tried))
    settings = tiny_settings(data, batch_size="auto", effective_batch=6)
    spec = attempt_spec(tmp_path, settings, last=1)
    run_attempt(spec, Recorder())
    assert tried == [1, 2, 3, 6]
    assert json.loads((Path(spec.folder) / "batch_size.json").read_text()) == {"batch_size": 3}
    saved = load_checkpoint(spec.checkpoint)
    assert (saved["batch_size"], saved["steps_done"]) == (3, 4), "24 samples, 6 per optimizer step"
    monkeypatch.setattr(probing, "try_hardest", limited_to(0, tried))
    run_attempt(spec, Recorder())  # another batch would be another training
    assert tried == [1, 2, 3, 6]


def test_a_batch_that_is_given_is_taken(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(probing, "try_hardest", limited_to(99, tried))
    run_attempt(attempt_spec(tmp_path, tiny_settings(data), last=0), Recorder())
    assert tried == []


def test_a_budget_that_nothing_fits_into_is_told_before_the_first_step(data: Path, tmp_path: Path) -> None:
    for batch in (4, "auto"):
        spec = attempt_spec(tmp_path / str(batch), tiny_settings(data, memory_budget_mb=10.0, batch_size=batch))
        with pytest.raises(MemoryError, match=r"training\.memory_budget_mb"):
            run_attempt(spec, Recorder())
        assert not spec.checkpoint.exists()


def test_the_largest_batch_on_this_machine(data: Path, tmp_path: Path) -> None:
    spec = attempt_spec(tmp_path, tiny_settings(data, batch_size="auto", effective_batch=4), last=1)
    channel = Recorder()
    run_attempt(spec, channel)
    assert load_checkpoint(spec.checkpoint)["batch_size"] == 4 and [r["epoch"] for r in channel.records] == [1]
