"""The exam of a run: what is refused before it, when it is measured, and that nothing else ever sees it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import ANNOTATIONS, write_annotations, write_coco_folder, write_image
from doctor.planted import scene
from smallsight.attempts.spec import AttemptResult, MeasureSpec
from smallsight.commands import train
from smallsight.commands.exam import is_due, name_exam, sit_exam
from smallsight.commands.inputs import Inputs, read_inputs
from smallsight.config.load import Config, LoadedConfig, build_config, with_settings
from smallsight.data.coco import read_coco
from smallsight.errors import DatasetError, Interrupted
from smallsight.evaluation.detections_file import save_detections
from smallsight.records import Detections
from smallsight.report import measured
from smallsight.run.given import Origin
from smallsight.run.state import State
from smallsight.strategy.by_hand import ByHand
from smallsight.strategy.plan import Plan
from strategy.lab import Fuse, Killed, Lab, Script, read_checkpoint, timeless

FOUND = {"baseline 1 epoch 1": 0.4, "better 1 epoch 2": 0.8, "best 1 epoch 4": 1.0}
"""By what the lab's trainer writes into a checkpoint, the share of the exam's objects that it finds."""


PLAN = Plan.model_validate(
    {
        "baseline": {"epochs": 1},
        "target": {"stop_at": "never"},
        "phases": [{"name": "better", "epochs": 1, "set": {"training.multi_scale": True}}],
    }
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three splits of clips of their own, and a further set."""
    for seed, name in enumerate(("train", "valid", "test", "real"), start=1):
        content = write_coco_folder(tmp_path / name, 12, seed=seed, frames_per_clip=2)
        for number, image in enumerate(content["images"]):
            write_image(tmp_path / name / image["file_name"], scene(100 * seed + number))
    return tmp_path


def inputs_of(
    data: Path, *, guards: str = "", run_kind: str = "optimize", folder: str = "run", **dataset: Any
) -> Inputs:
    sets = {"real": {"path": str(data / guards), "guards": True}} if guards else {}
    content: dict[str, Any] = {
        "dataset": {"coco_train_path": str(data / "train"), "coco_val_path": str(data / "valid"), **dataset},
        "evaluation": {"replicates": 200, "sets": sets},
        "training": {"epochs": 1},
    }
    loaded = LoadedConfig(build_config(content, "test"), "test.yaml", content)
    return read_inputs(loaded, PLAN, data / folder, None, run_kind)


# Which one


def test_it_is_said_which_images_it_is(data: Path) -> None:
    exam = inputs_of(data).exam
    assert exam is not None and exam.in_words() == (
        f"Exam: {data / 'test'} (12 images), found beside the training set. No decision sees it; baseline and champion "
        "are measured on it at the end."
    )
    named = inputs_of(data, exam_path=str(data / "real")).exam
    assert named is not None and "named by dataset.exam_path" in named.in_words()
    assert inputs_of(data, exam_path=None).exam is None


@pytest.mark.parametrize("other", ["coco_val_path", "guards"])
def test_what_decides_is_no_exam_where_it_lies_beside_the_training_set(data: Path, other: str) -> None:
    taken = {"guards": "test"} if other == "guards" else {other: str(data / "test")}
    inputs = inputs_of(data, **taken)
    assert inputs.exam is None and not any("exam" in warning for warning in inputs.warnings)


def without_small_objects(folder: Path) -> None:
    content = json.loads((folder / ANNOTATIONS).read_text())
    for annotation in content["annotations"]:
        annotation["area"] = 2000
    write_annotations(folder, content)


def test_an_exam_holds_objects_of_the_targets_size(data: Path) -> None:
    without_small_objects(data / "test")
    found = inputs_of(data)
    assert found.exam is None and any("so it is no exam" in warning for warning in found.warnings)
    with pytest.raises(DatasetError, match=r"dataset\.exam_path: .*no object there is of a size that map_small"):
        inputs_of(data, exam_path=str(data / "test"))


# What is refused


def same_clip(data: Path, other: str) -> None:
    content = json.loads((data / "test" / ANNOTATIONS).read_text())
    content["images"][0]["clip"] = json.loads((data / other / ANNOTATIONS).read_text())["images"][0]["clip"]
    write_annotations(data / "test", content)


@pytest.mark.parametrize("other", ["train", "valid", "real"])
def test_an_exam_of_a_clip_that_trains_or_decides_is_refused_at_once(data: Path, other: str) -> None:
    same_clip(data, other)
    with pytest.raises(DatasetError, match=r"the exam shares matches, clips or frames .*dataset\.exam_path=none"):
        inputs_of(data, guards="real")
    assert inputs_of(data, guards="real", exam_path="none").exam is None


@pytest.mark.parametrize("other", ["train", "valid"])
def test_an_exam_with_a_frame_that_trains_or_decides_is_refused_before_training(data: Path, other: str) -> None:
    noise = np.random.default_rng(0).normal(0, 2, (64, 96, 3))
    seed = {"train": 103, "valid": 203}[other]
    write_image(data / "test/frame_004.jpg", np.clip(scene(seed) + noise, 0, 255).astype(np.uint8))
    with pytest.raises(DatasetError, match=f"looks like {other}/frame_003.jpg"):
        train._look_into(inputs_of(data))
    assert not (data / "run").exists()


def test_an_image_that_can_not_be_read_is_refused_before_training(data: Path) -> None:
    (data / "test/frame_004.jpg").write_bytes((data / "test/frame_004.jpg").read_bytes()[:300])
    with pytest.raises(DatasetError, match="frame_004"):
        train._look_into(inputs_of(data))


def test_an_exam_is_looked_into_once_a_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exam = Exam(data)
    exam.sit()
    monkeypatch.setattr("smallsight.commands.exam.shared_with", lambda *_, **__: pytest.fail("looked at once more"))
    train._look_into(inputs_of(data))
    monkeypatch.undo()
    same_clip(data, "train")  # another exam now
    with pytest.raises(DatasetError, match="the exam shares"):
        inputs_of(data)


# When it is measured


@dataclass
class Exam:
    """A strategy whose second phase helps, and what measures it at the end."""

    data: Path
    name: str = "run"
    script: Script = field(default_factory=lambda: {"baseline": [[0.3]], "better": [[0.5]]})
    fuse: Fuse = field(default_factory=Fuse)
    measured: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    stop_at_measurement: int = 0

    def sit(self, **dataset: Any) -> State:
        """As `commands.train.optimize`, with a stand-in for what measures."""
        inputs = inputs_of(self.data, folder=f"unused_{self.name}", **dataset)
        lab = Lab(self.data / self.name, self.script, PLAN, config=inputs.config, fuse=self.fuse)
        lab.annotations = inputs.origin.annotations

        def act(run: Any) -> State:
            run.begin(inputs.config, PLAN, "optimize", lab._origin("", 0))
            name_exam(run, inputs.exam)
            run.optimize(inputs.config, PLAN, None)
            sit_exam(run, inputs.exam, inputs.config, self.said.append)
            assert not is_due(run.state, inputs.exam) or "could not be measured" in self.said[-1]
            state: State = run.state
            return state

        with self.measuring():
            return lab._with_run(act)

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """While this holds, the stand-in measures."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(measured, "measure_in_child", self._measure)
            yield

    def _measure(self, spec: MeasureSpec, job: Path, log: Path) -> AttemptResult:
        """Finds a share of the objects; writes as `training.measure.write_figures`, and may be cut off anywhere."""
        self.fuse.pass_on()
        weights = read_checkpoint(Path(spec.checkpoint))
        if len(self.measured) + 1 == self.stop_at_measurement:
            self.stop_at_measurement = 0
            raise Interrupted("stopped while a checkpoint was measured")
        dataset = read_coco(Path(spec.data), class_names=spec.class_names)
        found = []
        for index, truth in enumerate(dataset.truths):
            boxes = truth.boxes[: int(index < FOUND[weights] * len(dataset))]
            found.append(Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64)))
        save_detections(Path(spec.detections), found, [image.id for image in dataset.images])
        self.fuse.pass_on()
        figures = {"map_small": {"value": FOUND[weights], "low": None, "high": None, "n": len(dataset)}}
        Path(spec.result).write_text(json.dumps({"images": len(dataset), "metrics": figures}))
        self.measured.append(weights)
        self.fuse.pass_on()
        return AttemptResult()


BOTH = ["baseline 1 epoch 1", "better 1 epoch 2"]


def test_baseline_and_champion_are_measured_once(data: Path) -> None:
    exam = Exam(data)
    state = exam.sit()
    (look,) = state.exams
    assert exam.measured == BOTH and look is state.exam_look
    assert (look.exam.path, look.exam.images, look.over) == (str(data / "test"), 12, "12 images in 6 clips")
    assert (look.baseline.epoch, look.champion.epoch) == (1, 2)
    assert [each.sha256 for each in (look.baseline, look.champion)] == [state.first.sha256, state.champion.sha256]  # type: ignore[union-attr]
    lift = look.lifts["map_small"]
    assert 0 < lift.low < lift.value < lift.high and lift.n == 12 and set(look.lifts) == {"map_small", "map_50_95"}
    assert str(exam.sit().exams) == str(state.exams) and exam.measured == BOTH


def test_nothing_is_corrected_for_a_choice_on_the_exam(data: Path) -> None:
    """The lift is the plain difference of the two figures, for no epoch was chosen there."""
    (look,) = Exam(data).sit().exams
    figures = [json.loads(path.read_text()) for path in (data / "run/sets").glob("*.json")]
    assert len(figures) == 2
    assert look.lifts["map_small"].value == pytest.approx(0.4, abs=0.03)  # AP of 10 of 12 less that of 5 of 12


def change_exam(data: Path) -> None:
    content = json.loads((data / "test" / ANNOTATIONS).read_text())
    write_annotations(data / "test", {**content, "info": {"year": 2024}})


def test_another_exam_is_another_look(data: Path) -> None:
    exam = Exam(data)
    exam.sit()
    change_exam(data)
    before, after = exam.sit().exams
    assert before.exam.fingerprint != after.exam.fingerprint and exam.measured == [*BOTH, *BOTH]


def test_each_new_champion_by_hand_is_another_look(data: Path) -> None:
    exam = Exam(data, script={"baseline": [[0.3]], "better": [[0.5]], "worse": [[0.2]], "best": [[0.7]]})
    inputs = inputs_of(data, folder="by_hand", run_kind="train")
    looks = []
    for number, name in enumerate(exam.script, start=1):
        asked = {"training.epochs": number, "training.seed": number, "checkpoint.start_epoch": number}
        config = with_settings(inputs.config, asked, "test")
        lab = Lab(data / "run", exam.script, Plan(), config=config, annotations=inputs.origin.annotations)

        def act(run: Any, name: str = name, config: Config = config) -> State:
            run.begin(config, Plan(), "train", Origin())
            run.train_as_configured(name, config, Plan(), Origin())
            sit_exam(run, inputs.exam, config, exam.said.append)
            state: State = run.state
            return state

        with exam.measuring():
            looks.append(len(lab._with_run(act, ByHand).exams))
    assert looks == [0, 1, 1, 2]
    assert exam.measured == ["baseline 1 epoch 1", "better 1 epoch 2", "best 1 epoch 4"]


def test_a_baseline_that_is_the_champion_leaves_the_exam_unseen(data: Path) -> None:
    exam = Exam(data, script={"baseline": [[0.3]], "better": [[0.2]]})
    state = exam.sit()
    assert (state.exams, exam.measured) == ((), []) and state.champion == state.first


def test_without_an_exam_nothing_is_measured(data: Path) -> None:
    exam = Exam(data)
    assert exam.sit(exam_path="none").exams == () and exam.measured == []
    state = exam.sit()
    assert len(state.exams) == 1, "one that is named later is measured then, for the baseline was kept"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("other")])
def test_a_baseline_that_is_gone_ends_nothing(data: Path, harm: Callable[[Path], Any]) -> None:
    exam = Exam(data)
    exam.sit(exam_path="none")
    path = data / "run/phases/01_baseline/attempt_1/best.pth"
    kept = path.read_bytes()
    harm(path)
    assert exam.sit().exams == () and "The exam could not be measured: " in exam.said[-1] and str(path) in exam.said[-1]
    path.write_bytes(kept)
    assert len(exam.sit().exams) == 1


def test_an_exam_that_changes_during_the_run_is_not_measured(data: Path) -> None:
    exam = Exam(data)
    inputs = inputs_of(data)
    change_exam(data)
    lab = Lab(data / "run", exam.script, PLAN, config=inputs.config, annotations=inputs.origin.annotations)

    def act(run: Any) -> State:
        run.begin(inputs.config, PLAN, "optimize", lab._origin("", 0))
        run.optimize(inputs.config, PLAN, None)
        sit_exam(run, inputs.exam, inputs.config, exam.said.append)
        state: State = run.state
        return state

    assert lab._with_run(act).exams == () and "the exam has changed since this start" in exam.said[-1]


@pytest.mark.parametrize("at", [1, 2])
def test_a_stop_while_measuring_leaves_the_rest_for_the_next_start(data: Path, at: int) -> None:
    exam = Exam(data, stop_at_measurement=at)
    with pytest.raises(Interrupted):
        exam.sit()
    assert exam.measured == BOTH[: at - 1]
    assert len(exam.sit().exams) == 1 and exam.measured == BOTH


def test_a_power_cut_anywhere_around_the_exam_loses_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr("smallsight.strategy.recording.to_yaml", lambda content: "")
    undisturbed = Exam(data, "undisturbed")
    expected = undisturbed.sit()
    places = undisturbed.fuse.passed
    for place in range(places - 9, places + 1):  # from the last decision on
        exam = Exam(data, f"cut_{place}", fuse=Fuse(place))
        with pytest.raises(Killed):
            exam.sit()
        state = exam.sit()
        assert _without_paths(state) == _without_paths(expected), f"cut at {place}"
        assert len(state.exams) == 1 and not list((data / f"cut_{place}").rglob("*.tmp"))


def _without_paths(state: State) -> Any:
    return timeless(replace(state, config={}, exams=tuple(replace(look, over="") for look in state.exams)))


# Who knows of it


def test_a_training_process_is_not_told_where_it_is(data: Path) -> None:
    inputs = inputs_of(data, exam_path=str(data / "test"))
    lab = Lab(data / "run", {"baseline": [[0.3]]}, Plan(), config=inputs.config)
    lab.optimize()
    assert [spec.config["dataset"]["exam_path"] for spec in lab.trainer.specs] == [None]
    assert str(data / "test") not in json.dumps([spec.config for spec in lab.trainer.specs])
    assert str(data / "test") in (data / "run/config.yaml").read_text(), "the next start knows it"


def test_the_same_run_goes_on_with_another_exam(data: Path) -> None:
    Exam(data).sit()
    for other in ("none", str(data / "real")):
        inputs_of(data, exam_path=other)
    shutil.rmtree(data / "test")
    assert inputs_of(data).exam is None
