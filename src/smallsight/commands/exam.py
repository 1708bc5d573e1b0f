"""The exam of a run: chosen and checked before it begins, and not touched again before its end.

Nothing in between knows where it is: what trains, judges and decides gets the other sets alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smallsight.commands.sets import FurtherSets, holds
from smallsight.config.load import Config
from smallsight.data.coco import ANNOTATION_FILE, Dataset, read_coco
from smallsight.data.exam import KEY, OFF, Exam, read_exam
from smallsight.data.groups import groups_of
from smallsight.doctor.kinds import line_of
from smallsight.doctor.leaks import shared_with
from smallsight.errors import ConfigError, DatasetError, RunFolderError
from smallsight.evaluation.bootstrap import Resampled, Units, resample
from smallsight.evaluation.verdict import difference_of
from smallsight.files import fingerprint_of, sha256_of
from smallsight.records import estimates_from_json, to_json
from smallsight.report.champion import champion_config, detections_on, judged
from smallsight.report.exam import exam_in_words
from smallsight.report.measured import figures_on
from smallsight.run.checkpoints import baseline_checkpoint, champion_checkpoint
from smallsight.run.exam import Examined, ExamLook, ExamSet
from smallsight.run.folder import RunFolder
from smallsight.run.state import Champion, State
from smallsight.strategy.plan import Plan
from smallsight.strategy.runner import Runner
from smallsight.synth.rendered import rendered_share

EXAM = "exam"
_SHOWN = 3
"""So many things that the exam shares with other sets are named."""


@dataclass(frozen=True)
class ChosenExam:
    """The exam of a run.

    Attributes:
        images: what the journal and the report know of it.
        folder: its COCO folder.
        class_names: of the run.
        others: the folders of the sets that train and decide, by name.
        found: whether it was found beside the training set.
        is_new: whether it is not checked yet against those sets.
    """

    images: ExamSet
    folder: Path
    class_names: tuple[str, ...]
    others: Mapping[str, Path]
    found: bool
    is_new: bool

    def in_words(self) -> str:
        """For the first lines of a run."""
        return exam_in_words(self.images, found=self.found)

    def refuse_leaks(self, *, images: bool) -> None:
        """Make sure that it shares no match and no clip with the other sets.

        Args:
            images: whether to look for equal and nearly equal frames as well; each file is read for that.
        Raises:
            DatasetError: it shares something.
        """
        found = shared_with(EXAM, self.folder, self.others, images=images) if self.is_new else []
        if found:
            shown = "; ".join(line_of(item) for item in found[:_SHOWN])
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise DatasetError(
                f"{KEY}: {self.images.path}: the exam shares matches, clips or frames with the sets that train and "
                f"decide: {shown}{more}. Give frames of other matches (`smallsight split` makes such sets), {OFF}."
            )


def choose_exam(
    config: Config, plan: Plan, train: Dataset, valid: Dataset, further: FurtherSets, known: Mapping[str, str]
) -> tuple[ChosenExam | None, Dataset | None, tuple[str, ...]]:
    """The exam, its images, and what is to be said of it; None where there is none.

    Args:
        known: what tells the other sets from changed ones, as `Origin.annotations`.
    Raises:
        ConfigError, DatasetError: see `read_exam`; it holds no object that the target metric is about.
    """
    exam, notes = read_exam(config, train.class_names)
    if exam is None:
        return None, None, notes
    images = fingerprint_of([image.path for image in exam.dataset.images])
    if exam.found and images in known.values():
        return None, None, ()  # what is beside the training set is the validation set, or one that guards
    if not holds(exam.dataset, plan.target.metric, config):
        text = f"{exam.path}: no object there is of a size that {plan.target.metric} is about, so it is no exam."
        if not exam.found:
            raise DatasetError(f"{KEY}: {text} Add such frames, {OFF}.")
        return None, None, (text,)
    return _chosen(exam, images, train, valid, further, known), exam.dataset, ()


def _chosen(
    exam: Exam, images: str, train: Dataset, valid: Dataset, further: FurtherSets, known: Mapping[str, str]
) -> ChosenExam:
    dataset = exam.dataset
    guards = {f"set {each.name}": each.dataset.root for each in further.sets if each.labelled}
    found = ExamSet(
        str(exam.path),
        _sha256([sha256_of(dataset.root / ANNOTATION_FILE), images]),
        len(dataset),
        _sha256(sorted(known.items())),
        rendered_share(dataset.root),
    )
    others = {"train": train.root, "valid": valid.root, **guards}
    return ChosenExam(found, dataset.root, tuple(train.class_names), others, exam.found, True)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def as_known(exam: ChosenExam | None, state: State) -> ChosenExam | None:
    """The exam, with what the journal says: one that the run named before was checked then."""
    before = state.exam
    if exam is None or before is None:
        return exam
    same = (before.fingerprint, before.checked_against) == (exam.images.fingerprint, exam.images.checked_against)
    return replace(exam, is_new=not same)


def name_exam(run: Runner, exam: ChosenExam | None) -> bool:
    """Write down which exam this start names, where that was another one before; whether it was."""
    images = exam.images if exam else None
    if run.state.exam == images:
        return False
    run.write("exam_named", exam=to_json(images))
    return True


def is_due(state: State, exam: ChosenExam | None) -> bool:
    """Whether there is a lift that was not measured on the exam."""
    if exam is None or state.first is None or state.champion is None or state.first == state.champion:
        return False
    look = state.exam_look
    return look is None or look.exam.fingerprint != exam.images.fingerprint


def sit_exam(run: Runner, exam: ChosenExam | None, config: Config, say: Callable[[str], None]) -> None:
    """Measure baseline and champion on the exam and write down what was found, where that was not done before.

    Where one can't be measured, that is said, and the next start tries again.

    Args:
        config: of this start.
    Raises:
        OSError: the disk is full.
        Interrupted: a stop was requested; what is measured is kept.
    """
    first, champion = run.state.first, run.state.champion
    if exam is None or first is None or champion is None or not is_due(run.state, exam):
        return
    say(f"Exam: measuring the baseline and the champion on {exam.images.images} images.")
    try:
        found = _look(RunFolder(run.folder), run.state, first, champion, exam, config)
    except (ConfigError, DatasetError, RunFolderError) as error:
        say(f"The exam could not be measured: {error}")
        return
    run.write("exam", **to_json(found))


def _look(
    folder: RunFolder, state: State, first: Champion, champion: Champion, exam: ChosenExam, config: Config
) -> ExamLook:
    dataset, settings, plan = _images_of(exam), champion_config(state), state.plan
    metrics = list(dict.fromkeys([plan["target"]["metric"], plan["guard"]["metric"]]))
    units = Units.of(len(dataset), groups_of(dataset), config.evaluation.resample)

    def side(which: Champion, checkpoint: Callable[[], Path]) -> tuple[Examined, Resampled]:
        key = f"{which.sha256[:16]}_{exam.images.fingerprint[:16]}"
        figures = figures_on(folder, key, checkpoint, exam.folder, settings, exam.class_names)
        detections = detections_on(dataset, folder.measured_detections(key))
        drawn = resample(judged(settings, dataset, detections), metrics, units, replicates=config.evaluation.replicates)
        place = (which.phase_number, which.attempt, which.record.epoch, which.sha256)
        return Examined(*place, estimates_from_json(figures["metrics"])), drawn

    before, theirs = side(first, lambda: baseline_checkpoint(folder.path, first))
    now, ours = side(champion, lambda: champion_checkpoint(folder.path, champion))
    # A single candidate each: nothing was chosen on these images.
    lifts = {metric: difference_of([ours], [theirs], metric).estimate for metric in metrics}
    return ExamLook(exam.images, before, now, lifts, units.over)


def _images_of(exam: ChosenExam) -> Dataset:
    """The exam as it was chosen.

    Raises:
        DatasetError: it can't be read, or has changed since.
    """
    dataset = read_coco(exam.folder, class_names=exam.class_names)
    images = fingerprint_of([image.path for image in dataset.images])
    if _sha256([sha256_of(dataset.root / ANNOTATION_FILE), images]) != exam.images.fingerprint:
        raise DatasetError(f"{exam.images.path}: the exam has changed since this start. Run the same command again.")
    return dataset
