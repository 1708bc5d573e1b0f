"""A finished run looked at again: what is made out, what is left out, and two runs set side by side."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import write_annotations, write_coco_folder
from smallsight.attempts.spec import AttemptResult, MeasureSpec
from smallsight.cli import main
from smallsight.config.load import build_config
from smallsight.config.sections import EvaluationSet
from smallsight.data.coco import ANNOTATION_FILE, read_coco
from smallsight.errors import CheckpointError, RunFolderError
from smallsight.evaluation.detections_file import save_detections
from smallsight.evaluation.evidence import Evidence
from smallsight.files import sha256_of
from smallsight.records import Decision, Detections, EpochRecord, Estimate, Verdict
from smallsight.report import champion as module
from smallsight.report import measured
from smallsight.report.champion import champion_config, champions_apart, crops_of, examine
from smallsight.report.story import tell
from smallsight.report.write import comparison_of, write_everything
from smallsight.run.folder import detections_of_set
from smallsight.run.state import Attempt, Champion, PhaseRun, State
from smallsight.strategy.plan import Plan


@dataclass(frozen=True)
class Lab:
    """A run folder, its state, and the data beside it."""

    folder: Path
    state: State
    valid: Path

    def with_sets(self, **sets: Any) -> State:
        config = dict(self.state.config) | {"evaluation": {**self.state.config["evaluation"], "sets": sets}}
        return dataclasses.replace(self.state, config=config)


def make_run(root: Path, found: float, name: str = "run") -> Lab:
    """A baseline that finds half of the balls, and a champion that finds the share `found`, with a false alarm each."""
    for seed, split in enumerate(("train", "valid")):
        if not (root / split).exists():
            write_coco_folder(root / split, 12, (96, 64), seed=seed)
    folder, valid = root / name, read_coco(root / "valid")
    annotations = {"valid": sha256_of(root / "valid" / ANNOTATION_FILE)}
    runs, records = [], []
    for number, (phase, share) in enumerate((("baseline", 0.5), ("longer", found)), start=1):
        detections = []
        for index, truth in enumerate(valid.truths):
            seen = index < share * len(valid)
            boxes = np.concatenate([truth.boxes[: int(seen)], np.array([[80, 50, 86, 56]], dtype=np.float32)])
            scores = np.array([0.9, 0.3][-len(boxes) :], dtype=np.float32)
            detections.append(Detections(boxes, scores, np.zeros(len(boxes), dtype=np.int64)))
        path = folder / f"phases/{number:02d}_{phase}/attempt_1/detections/valid_epoch_{number:03d}.npz"
        save_detections(path, detections, [image.id for image in valid.images])
        records.append(EpochRecord(number, phase, 1, {"map_small": Estimate(share, share - 0.1, share + 0.1, 12)}))
        attempt = Attempt(1, {}, number, number, (records[-1],), "completed")
        verdict = Verdict("improved", Estimate(0.1, 0.05, 0.2, 12), Estimate(0.0), "it rose") if number > 1 else None
        decision = Decision("run", "why not", phase, {}, 1)
        runs.append(PhaseRun(phase, number, decision, (attempt,), True, verdict, annotations=annotations))
    (folder / "checkpoint_best.pth").write_text("weights")
    dataset = {"coco_train_path": str(root / "train"), "coco_val_path": str(root / "valid")}
    state = State(
        config=build_config({"dataset": dataset, "evaluation": {"replicates": 100}}, "test").to_dict(),
        plan=Plan(name="test").to_dict(),
        runs=tuple(runs),
        champion=Champion("longer", 2, 1, records[1], {}, sha256_of(folder / "checkpoint_best.pth")),
        baseline=records[0],
        finished="all done",
    )
    return Lab(folder, state, root / "valid")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_run(tmp_path, 0.75)


def made_out(lab: Lab, state: State | None = None, *, measures: bool = True) -> Evidence:
    known = state or lab.state
    evidence = examine(lab.folder, known, champion_config(known).evaluation.sets if measures else None)
    assert evidence is not None
    return evidence


def test_what_the_champion_gets_wrong_is_made_out(lab: Lab) -> None:
    evidence = made_out(lab)
    assert (evidence.epoch, evidence.images, evidence.left_out) == (2, 12, ())
    everything = evidence.sizes[0]
    assert (everything.objects, everything.found) == (12, 9)
    assert {part.kind: part.count for part in everything.parts if part.count} == {"missed": 3, "background": 12}
    assert [m.kind for m in evidence.misses] == ["missed"] * 3
    assert evidence.false_alarms[0].file == "frame_000.jpg"
    assert evidence.operating_points[0].threshold.value == pytest.approx(0.9)
    assert evidence.calibration is not None
    assert evidence.lift is not None and 0 <= evidence.lift.low < evidence.lift.value < evidence.lift.high


def test_every_mistake_that_is_listed_has_a_picture(lab: Lab) -> None:
    evidence = made_out(lab)
    crops = crops_of(lab.state, evidence)
    assert set(crops) == {*evidence.misses, *evidence.false_alarms}
    assert sum(len(crop.jpeg) for crop in crops.values()) < 200_000


def test_no_champion_is_no_evidence(lab: Lab) -> None:
    assert examine(lab.folder, dataclasses.replace(lab.state, champion=None)) is None


def remove_images(lab: Lab) -> None:
    shutil.rmtree(lab.valid)


def change_annotations(lab: Lab) -> None:
    content = json.loads((lab.valid / ANNOTATION_FILE).read_text())
    write_annotations(lab.valid, content | {"info": {}})


def remove_detections(lab: Lab) -> None:
    shutil.rmtree(lab.folder / "phases/02_longer")


def damage_detections(lab: Lab) -> None:
    box = Detections(np.full((1, 4), np.nan, np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    path = lab.folder / "phases/02_longer/attempt_1/detections/valid_epoch_002.npz"
    save_detections(path, [box] * 12, list(range(1, 13)))


def remove_baseline(lab: Lab) -> None:
    shutil.rmtree(lab.folder / "phases/01_baseline")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (remove_images, "no such folder"),
        (change_annotations, "has changed since the champion was evaluated"),
        (remove_detections, "no such detections file"),
        (damage_detections, "a number that is not finite"),
        (remove_baseline, "The lift's interval: "),
    ],
)
def test_what_is_gone_is_left_out_and_said_so(lab: Lab, harm: Any, words: str) -> None:
    harm(lab)
    evidence = made_out(lab)
    assert len(evidence.left_out) == 1 and words in evidence.left_out[0]
    page = write_everything(lab.folder, tell(lab.folder, lab.state), lab.state, evidence)
    assert "Not in this report:" in page.read_text()
    assert "longer" in (lab.folder / "report.md").read_text()


def test_the_report_is_written_with_its_evidence(lab: Lab) -> None:
    write_everything(lab.folder, tell(lab.folder, lab.state), lab.state, made_out(lab))
    document = json.loads((lab.folder / "training_evaluation_detailed.json").read_text())
    assert document["evidence"]["sizes"][0]["parts"][0]["kind"] == "missed"
    assert document["metrics"]["2"]["map_small"] == 0.75
    assert (lab.folder / "report.html").read_text().count("data:image/jpeg") == 15


def test_a_second_set_is_measured_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def measure(spec: MeasureSpec, job: Path, log: Path) -> AttemptResult:
        calls.append(spec)
        metrics = {"map_small": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 30}}
        Path(spec.result).write_text(json.dumps({"images": 33, "metrics": metrics}))
        return AttemptResult()

    monkeypatch.setattr(measured, "measure_in_child", measure)
    state = lab.with_sets(real=str(lab.valid))
    gap = made_out(lab, state).gaps[0]
    assert (gap.name, gap.images, gap.value.n) == ("real", 33, 30)
    assert gap.gap.value == pytest.approx(0.55) and gap.gap.low > 0
    assert made_out(lab, state).gaps == made_out(lab, state, measures=False).gaps == (gap,)
    assert [spec.checkpoint for spec in calls] == [str(lab.folder / "checkpoint_best.pth")]
    change_annotations(lab)
    sets = {"real": EvaluationSet(path=str(lab.valid))}
    module._gaps(lab.folder, state, state.champion, sets, unreadable, measures=True)
    assert len(calls) == 2


def unreadable() -> Any:
    raise RunFolderError("no such detections file")


def test_a_gap_is_corrected_for_choosing_the_champion(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second epoch, which finds other balls, was a candidate too; without its file the gap stays as it is."""
    monkeypatch.setattr(module, "_elsewhere", lambda *_, measures: (Estimate(0.2, 0.1, 0.3, 30), 33))
    state = lab.with_sets(real=str(lab.valid))
    (plain,) = made_out(lab, state).gaps
    assert (plain.gap.value, plain.selection_bias) == (pytest.approx(0.55), 0.0)
    run, valid = state.runs[1], read_coco(lab.valid)
    other = dataclasses.replace(run.records[0], epoch=3)
    second = dataclasses.replace(run.attempts[0], records=(run.records[0], other), last_epoch=3)
    state = dataclasses.replace(state, runs=(state.runs[0], dataclasses.replace(run, attempts=(second,))))
    found = [
        Detections(t.boxes[: int(i >= 3)], np.full(int(i >= 3), 0.9, np.float32), np.zeros(int(i >= 3), np.int64))
        for i, t in enumerate(valid.truths)
    ]
    path = lab.folder / "phases/02_longer/attempt_1/detections/valid_epoch_003.npz"
    save_detections(path, found, [image.id for image in valid.images])
    (gap,) = made_out(lab, state).gaps
    assert gap.selection_bias > 0.01
    assert gap.gap.value == pytest.approx(0.55 - gap.selection_bias)
    save_detections(path, found, list(range(100, 112)))
    (unknown,) = made_out(lab, state).gaps
    assert np.isnan(unknown.selection_bias) and unknown.gap.value == pytest.approx(0.55)


def test_the_figures_of_a_set_that_guards_are_in_the_record(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """No detector is started, and frames without labels are no gap."""
    monkeypatch.setattr(measured, "measure_in_child", lambda *_: pytest.fail("a detector was started"))
    assert lab.state.champion is not None
    there = {"map_small": Estimate(0.5, 0.4, 0.6, 30)}
    video = {name: Estimate(0.5, n=20) for name in ("found_10", "found_40", "detections_10", "top_score")}
    record = dataclasses.replace(lab.state.champion.record, sets={"real": there, "video": video})
    champion = dataclasses.replace(lab.state.champion, record=record)
    save_detections(
        detections_of_set(lab.folder / "phases/02_longer/attempt_1/detections/valid_epoch_002.npz", "real"),
        [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))] * 7,
        list(range(7)),
    )
    sets: dict[str, Any] = {"real": {"path": "gone", "guards": True}, "video": "gone"}
    evidence = made_out(lab, dataclasses.replace(lab.with_sets(**sets), champion=champion))
    assert evidence.left_out == ()
    (gap,) = evidence.gaps
    assert (gap.name, gap.images, gap.value, gap.guards) == ("real", 7, there["map_small"], True)
    assert gap.gap.value == pytest.approx(0.25)


def test_frames_that_the_champion_was_not_tried_on_are_said_so(lab: Lab, tmp_path: Path) -> None:
    write_coco_folder(tmp_path / "video", 2)
    (tmp_path / "video" / ANNOTATION_FILE).unlink()
    evidence = made_out(lab, lab.with_sets(video=str(tmp_path / "video")))
    assert evidence.gaps == () and "frames without labels, on which this champion was not ev" in evidence.left_out[0]


@pytest.mark.parametrize(("where", "words"), [("nowhere", "nowhere"), ("$NOT_SET_ANYWHERE/x", "NOT_SET_ANYWHERE")])
def test_a_second_set_that_is_not_there_is_said_so(lab: Lab, where: str, words: str) -> None:
    evidence = made_out(lab, lab.with_sets(real=where))
    assert evidence.gaps == () and words in evidence.left_out[0] and evidence.sizes


def test_a_set_that_can_not_be_measured_is_said_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> AttemptResult:
        raise CheckpointError("checkpoint_best.pth: is no checkpoint.")

    where = f"The evaluation set real: {lab.valid}: can't be evaluated"
    monkeypatch.setattr(measured, "measure_in_child", refuse)
    assert made_out(lab, lab.with_sets(real=str(lab.valid))).left_out == (
        f"{where}; checkpoint_best.pth: is no checkpoint.",
    )
    monkeypatch.setattr(measured, "measure_in_child", lambda *_: AttemptResult("out_of_memory", "no memory left"))
    assert made_out(lab, lab.with_sets(real=str(lab.valid))).left_out == (f"{where} (out_of_memory); no memory left",)


def test_a_report_starts_no_detector_beside_a_training(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "measure_in_child", lambda *_: pytest.fail("a detector was started"))
    evidence = made_out(lab, lab.with_sets(real=str(lab.valid)), measures=False)
    assert evidence.gaps == () and "the run does so when it ends" in evidence.left_out[0]


def test_two_champions_on_the_same_images(tmp_path: Path, lab: Lab) -> None:
    other = make_run(tmp_path, 1.0, "better")
    apart = champions_apart((lab.folder, lab.state), (other.folder, other.state), ["map_small"])
    assert apart["map_small"].value > 0 and apart["map_small"].n == 12
    runs = ((tell(one.folder, one.state), one.state) for one in (lab, other))
    text = comparison_of(*runs, as_json=False)
    assert "map_small differs by +0." in text


def test_champions_of_different_images_are_not_compared(lab: Lab) -> None:
    runs = tuple(dataclasses.replace(run, annotations={"valid": "other"}) for run in lab.state.runs)
    other = dataclasses.replace(lab.state, runs=runs)
    with pytest.raises(RunFolderError, match="judged on other images"):
        champions_apart((lab.folder, lab.state), (lab.folder, other), ["map_small"])
    history = tell(lab.folder, lab.state)
    document: Mapping[str, Any] = json.loads(comparison_of((history, lab.state), (history, other), as_json=True))
    assert document["differences"] == {} and "can't be told" in document["verdict"]


def test_recorded_files_can_be_shown_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (tmp_path / "a.json").write_text('{"metrics": {"1": {"map_small": 0.5}, "2": {"map_small": 0.6}}}')
    for arguments in (["report", "a.json", "--html", "out/a.html"], ["compare", "a.json", "a.json"]):
        monkeypatch.setattr("sys.argv", ["smallsight", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    assert "<h1>" in (tmp_path / "out/a.html").read_text()
    assert "| map_small | 0.600 | 0.600 |" in capsys.readouterr().out
