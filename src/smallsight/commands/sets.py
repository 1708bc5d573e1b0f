"""The further evaluation sets of a run: checked before it begins, and used before a phase becomes champion."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from smallsight.config.load import Config
from smallsight.data.coco import ANNOTATION_FILE, Dataset
from smallsight.data.every_epoch_sets import FurtherSet, sets_of_every_epoch
from smallsight.data.groups import groups_of
from smallsight.errors import ConfigError, DatasetError
from smallsight.evaluation.ap import AREA_RANGES, metric_definitions
from smallsight.evaluation.bootstrap import Resampled, Units, resample
from smallsight.evaluation.guard_sets import guarded
from smallsight.evaluation.verdict import Difference, difference_of
from smallsight.files import fingerprint_of, sha256_of
from smallsight.records import Verdict
from smallsight.report.champion import detections_on, judged
from smallsight.run.folder import detections_of_set
from smallsight.run.state import State
from smallsight.strategy.lineage import GUARDING
from smallsight.strategy.plan import Plan
from smallsight.synth.rendered import rendered_share

MOSTLY = 0.5
"""Above this share of rendered images, a validation set says little about real frames."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, eq=False)
class FurtherSets:
    """The sets that are evaluated after every epoch, and warnings about the choice of sets."""

    sets: tuple[FurtherSet, ...]
    warnings: tuple[str, ...]

    def fingerprints(self) -> dict[str, str]:
        """Hashes of annotations and images of the sets that guard, under their keys in `Origin.annotations`."""
        found = {}
        for each in self.sets:
            if each.labelled:
                found[f"{GUARDING}{each.name}"] = sha256_of(each.dataset.root / ANNOTATION_FILE)
                found[f"{GUARDING}{each.name} images"] = fingerprint_of([image.path for image in each.dataset.images])
        return found

    def files(self) -> dict[str, Path]:
        """The file or folder behind each key of `fingerprints`."""
        roots = {each.name: each.dataset.root for each in self.sets if each.labelled}
        annotations = {f"{GUARDING}{name}": root / ANNOTATION_FILE for name, root in roots.items()}
        return annotations | {f"{GUARDING}{name} images": root for name, root in roots.items()}

    def unseen(self, state: State) -> tuple[Dataset, ...]:
        """The sets that this run has not been evaluated on yet."""
        return tuple(each.dataset for each in self.sets if not any(each.name in r.sets for r in state.records))


def further_sets(config: Config, plan: Plan, train: Dataset, valid: Dataset) -> FurtherSets:
    """Read and check the sets that the configuration names.

    Raises:
        ConfigError: a name can't be part of a file name, a folder is missing, or labels are missing where needed.
        DatasetError: a set can't be read, or one that guards has no object of a size that the target metric counts.
    """
    _refuse_names(list(config.evaluation.sets))
    sets = sets_of_every_epoch(config, train.class_names)
    for each in sets:
        if each.labelled and not holds(each.dataset, plan.target.metric, config):
            raise DatasetError(
                f"evaluation.sets.{each.name}: {each.dataset.root}: no object there is of a size that "
                f"{plan.target.metric} is about, so it can't guard. Add such frames, or set target.metric."
            )
    return FurtherSets(sets, tuple(_warnings(config, sets, valid)))


def _refuse_names(names: Sequence[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"evaluation.sets: got the name {name!r}, which becomes part of file names; expected 1 to 40 letters "
                "(a to z), digits, _ and -, a letter or digit first. Rename the set."
            )
    twice = next((name for name in names if [other.lower() for other in names].count(name.lower()) > 1), None)
    if twice:
        raise ConfigError(
            f"evaluation.sets: {twice!r} differs from another name by its capitals alone, and some disks don't tell "
            "them apart. Rename one of them."
        )


def holds(dataset: Dataset, metric: str, config: Config) -> bool:
    """Whether a set has an object of the sizes that a metric counts."""
    size_bin = metric_definitions(config.evaluation.max_dets)[metric].size_bin
    low, high = AREA_RANGES.get(size_bin, AREA_RANGES["all"])
    return any(((low <= t.areas) & (t.areas <= high) & ~t.ignored).any() for t in dataset.truths)


def _warnings(config: Config, sets: Sequence[FurtherSet], valid: Dataset) -> Iterator[str]:
    share = rendered_share(valid.root)
    real = [each.name for each in sets if each.labelled and not rendered_share(each.dataset.root)]
    if share > MOSTLY and not real:
        which = "all validation images" if share == 1 else f"{share:.0%} of the validation images"
        yield (
            f"{valid.root}: smallsight synth rendered {which}. What is better on them need not be better on real "
            "frames. Add labelled real frames, for example evaluation.sets.real={path: data/real, guards: true}."
        )
    frames = sum(len(each.dataset) for each in sets)
    if frames > len(valid):
        yield (
            f"evaluation.sets: {frames} further frames are evaluated after every epoch, in addition to the "
            f"{len(valid)} of the validation set. Use fewer to shorten the epochs."
        )


Guard = Callable[[Verdict, Path, Path], Verdict]
"""Takes a verdict, the candidate's and the champion's file of detections on the validation set; returns the verdict
that also takes the guarding sets into account."""


def guard_of(config: Config, plan: Plan, sets: Sequence[FurtherSet]) -> Guard:
    """A function that lets the guarding sets object to a verdict.

    It evaluates each file once and keeps the result, because a candidate may become the next champion. It raises:
        RunFolderError: a file was made on other images.
    """
    settings, target = config.evaluation, plan.target.metric
    guards = {each.name: each.dataset for each in sets if each.labelled}

    @cache
    def resampled(name: str, path: Path) -> Resampled:
        dataset = guards[name]
        units = Units.of(len(dataset), groups_of(dataset), settings.resample)
        evaluation = judged(config, dataset, detections_on(dataset, path))
        return resample(evaluation, [target], units, replicates=settings.replicates)

    def difference(name: str, candidate: Path, champion: Path) -> Difference | None:
        files = [detections_of_set(path, name) for path in (candidate, champion)]
        if not all(path.is_file() for path in files):
            return None
        ours, theirs = (resampled(name, path) for path in files)
        return difference_of([ours], [theirs], target)

    def ask(verdict: Verdict, candidate: Path, champion: Path) -> Verdict:
        if not guards:
            return verdict
        differences = {name: difference(name, candidate, champion) for name in guards}
        return guarded(verdict, differences, target, plan.verdict.confidence)

    return ask
