"""Whether the first figures of a checkpoint say that something is wrong with it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from smallsight.attempts.messages import Caution, Note
from smallsight.config.load import Config
from smallsight.detectors.checkpoint import is_of_run, labels_of, load_checkpoint, save_checkpoint
from smallsight.errors import CheckpointError
from smallsight.records import EpochRecord, Estimate
from smallsight.training.doubt import doubt_about_start
from smallsight.training.fit import run_attempt
from training.frames import attempt_spec, tiny_settings, write_data
from training.test_fit import Recorder

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice

NANO = Config.model_validate({"model": {"detector": "nano"}})
RFDETR = Config.model_validate({"model": {"detector": "rfdetr"}, "training": {"resolution": 1120}})


def said(found: float, recorded: float | None, config: Config = NANO, **start: Any) -> str | None:
    record = EpochRecord(39, "start", 1, {"map_50": Estimate(found)})
    metrics = {} if recorded is None else {"map_50": {"value": recorded, "low": None, "high": None, "n": 9}}
    return doubt_about_start(record, {"metrics": metrics, **start}, config, ["ball"])


@pytest.mark.parametrize(
    ("found", "recorded", "doubted"),
    [
        (0.0, 0.98, True),
        (0.4, 0.98, True),
        (0.6, 0.98, False),
        (0.0, 0.05, False),
        (0.0, None, True),
        (0.019, None, True),
        (0.03, None, False),
        (math.nan, 0.98, False),
        (math.nan, None, False),
    ],
)
def test_what_is_doubted(found: float, recorded: float | None, doubted: bool) -> None:
    """Little where there was much before, or nothing where nothing is known; never where it had learnt nothing yet."""
    assert (said(found, recorded) is not None) is doubted


def test_a_doubt_names_its_causes() -> None:
    assert said(0.003, 0.981, RFDETR, resolution=560) == (
        "The checkpoint has AP50 0.003 on the validation images before any training; its file records 0.981. Likely "
        "causes: it was trained at 560 px and is measured at 1120 px; the wrong class outputs of its head were taken "
        "(model.class_outputs names them); it was trained on other classes than ball, or on classes in another order; "
        "it was trained on other images. Check them before you train."
    )


def test_only_causes_that_can_be() -> None:
    words = said(0.0, None, resolution=640) or ""
    assert "its file does not say what it reached before" in words
    assert "class_outputs" not in words and " px" not in words


def test_a_file_of_no_use_is_told_and_one_that_holds_what_it_says_is_not(tmp_path: Any) -> None:
    data = write_data(tmp_path / "data")
    first = attempt_spec(tmp_path / "a", tiny_settings(data))
    run_attempt(first, Recorder())
    light = first.lightweight(2)
    content = load_checkpoint(light)
    claims = {**content["metrics"], "map_50": {"value": 0.9, "low": None, "high": None, "n": 9}}
    save_checkpoint(tmp_path / "claims.pth", {**content, "metrics": claims, "trained_in": {"run_id": "another"}})
    save_checkpoint(tmp_path / "own.pth", {**content, "metrics": claims})
    told = {}
    for name in ("claims", "own"):
        spec = attempt_spec(tmp_path / name, tiny_settings(data), first=3, start="warm", path=f"{tmp_path}/{name}.pth")
        channel = Recorder()
        run_attempt(spec, channel)
        told[name] = [message.text for message in channel.of(Caution)]
    assert len(told["claims"]) == 1 and "its file records 0.900" in told["claims"][0]
    assert told["own"] == [], "classes and images of this run's own file are known"


def test_a_checkpoint_says_which_attempt_wrote_it(tmp_path: Any) -> None:
    spec = attempt_spec(tmp_path, tiny_settings(write_data(tmp_path / "data")), last=1)
    run_attempt(spec, Recorder())
    for path in (spec.checkpoint, spec.best, spec.lightweight(1)):
        labels = {"run_id": "test", "phase": "demo", "attempt": 1, "resolution": 96, "skip_batches": 0}
        assert labels_of(path) == labels and is_of_run(path, "test") and not is_of_run(path, "another")
    (tmp_path / "torn.pth").write_bytes(spec.best.read_bytes()[:3000])
    (tmp_path / "none.pth").write_text("something else")
    torch.save({"model": {}}, tmp_path / "foreign.pth")
    assert not any(is_of_run(tmp_path / f"{name}.pth", "test") for name in ("torn", "none", "foreign", "gone"))
    with pytest.raises(CheckpointError, match="can't be read as a checkpoint"):
        labels_of(tmp_path / "torn.pth")


def test_files_that_are_not_of_this_run_keep_their_content(tmp_path: Any) -> None:
    """A trainer of before named its files alike."""
    spec = attempt_spec(tmp_path, tiny_settings(write_data(tmp_path / "data")), last=1)
    spec.lightweight(1).parent.mkdir(parents=True)
    spec.lightweight(1).write_text("another tool's")
    channel = Recorder()
    run_attempt(spec, channel)
    kept = spec.lightweight(1).with_name("checkpoint_epoch_1_lightweight_before.pth")
    assert kept.read_text() == "another tool's" and is_of_run(spec.lightweight(1), "test")
    notes = [message.text for message in channel.of(Note)]
    assert f"{spec.lightweight(1)}: not of this run, so it is kept as {kept.name}." in notes
    run_attempt(spec, channel)
    assert len(list(kept.parent.iterdir())) == 2, "its own files are written anew"
