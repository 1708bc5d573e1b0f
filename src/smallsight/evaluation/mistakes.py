"""The mistakes of a detector by kind, how much AP each kind costs, and the worst mistakes.

Source: TIDE (Bolya et al., ECCV 2020, section 2.3) for the kinds, and for the method: correct one kind at a time and
measure how much AP rises. hotcoco's `tide_errors` agrees with this where every object counts (a test checks it), but it
evaluates all sizes together and gives no intervals. Here each size is evaluated by itself, ignored regions are COCO's,
and the same draws of images give every part an interval. Departure: a poorly localised detection of another size, at
an object of this size, is a localisation mistake here; COCO drops it, and TIDE would call the object missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from smallsight.evaluation.ap import AREA_RANGES, Evaluation, Metric
from smallsight.evaluation.bootstrap import Draws, replicate_values
from smallsight.evaluation.evidence import MISTAKE_KINDS, Box, Mistake, MistakeKind, Part, SizeMistakes
from smallsight.evaluation.matching import Bools, Curve, Doubles, Ints
from smallsight.evaluation.outcomes import NONE, Outcomes, Scene, judge_outcomes

_AS_IT_IS = "as it is"
_NEVER_HITS: tuple[MistakeKind, ...] = ("background", "duplicate", "both")


def mistakes_by_size(scene: Scene, draws: Draws, sizes: Sequence[str] = tuple(AREA_RANGES)) -> tuple[SizeMistakes, ...]:
    """The mistakes at each object size that has objects.

    Args:
        scene: from `outcomes.survey`.
        draws: the bootstrap draws for the intervals.
        sizes: names in `ap.AREA_RANGES`.
    """
    judged = ((size, judge_outcomes(scene, AREA_RANGES[size])) for size in sizes)
    return tuple(_size_mistakes(size, outcomes, draws) for size, outcomes in judged if outcomes.wanted.any())


def worst_misses(
    outcomes: Outcomes, files: Sequence[str], class_names: Sequence[str], limit: int, below: Sequence[float] = ()
) -> list[Mistake]:
    """Objects that were not found, or only with a score below a threshold.

    Args:
        below: by label, an object found with less than this score counts as missed here; none does by default.
    Returns:
        First those with no detection near them, then by rising score of the nearest one; of equal ones the largest
        first.
    """
    objects, found = outcomes.scene.objects, outcomes.scene.found
    nearest = np.full(len(objects.image), NONE)
    near = outcomes.hit | outcomes.of_kind("localisation") | outcomes.of_kind("class")
    rows = np.flatnonzero(near)
    rows = rows[np.lexsort((found.scores[rows], outcomes.hit[rows]))]
    nearest[outcomes.truth[rows]] = rows  # the last of each object stays: its hit, else the highest score
    score = np.where(nearest == NONE, -1.0, np.append(found.scores, -1.0)[nearest])
    limits = np.array(below or np.zeros(len(class_names)))
    lost = np.flatnonzero(outcomes.wanted & (~outcomes.taken | (score < limits[objects.label])))
    lost = lost[np.lexsort((-objects.area[lost], score[lost]))]
    return [
        Mistake(
            kind=_kind(outcomes, nearest[row]),
            image=int(objects.image[row]),
            file=files[objects.image[row]],
            class_name=class_names[objects.label[row]],
            box=_corners(objects.boxes_xywh[row]),
            other=None if nearest[row] == NONE else _corners(found.boxes_xywh[nearest[row]]),
            score=None if nearest[row] == NONE else float(found.scores[nearest[row]]),
        )
        for row in _spread(lost, objects.image, limit)
    ]


def worst_false_alarms(
    outcomes: Outcomes, files: Sequence[str], class_names: Sequence[str], limit: int
) -> list[Mistake]:
    """Detections that count against, the highest score first."""
    objects, found = outcomes.scene.objects, outcomes.scene.found
    wrong = np.flatnonzero(outcomes.counted & ~outcomes.hit)
    wrong = wrong[np.argsort(-found.scores[wrong], kind="stable")]
    return [
        Mistake(
            kind=_kind(outcomes, row),
            image=int(found.image[row]),
            file=files[found.image[row]],
            class_name=class_names[found.label[row]],
            box=_corners(found.boxes_xywh[row]),
            other=None if outcomes.truth[row] == NONE else _corners(objects.boxes_xywh[outcomes.truth[row]]),
            score=float(found.scores[row]),
        )
        for row in _spread(wrong, found.image, limit)
    ]


def _size_mistakes(size: str, outcomes: Outcomes, draws: Draws) -> SizeMistakes:
    curves: dict[str, tuple[Curve, ...]] = {_AS_IT_IS: _curves(outcomes)}
    curves |= {kind: _put_right(outcomes, kind) for kind in MISTAKE_KINDS}
    values = _average_precisions(curves, outcomes.scene.n_images, draws)
    now, objects = values[_AS_IT_IS], int(outcomes.wanted.sum())
    parts = []
    for kind in MISTAKE_KINDS:
        # Where every object was missed, none is left after the correction: AP counts as 1 then.
        gain = np.where(np.isnan(values[kind]) & ~np.isnan(now), 1.0, values[kind]) - now
        count = int(outcomes.missed.sum() if kind == "missed" else outcomes.of_kind(kind).sum())
        parts.append(Part(kind, count, draws.estimate(gain, objects, outcomes.held)))
    found = int((outcomes.wanted & outcomes.taken).sum())
    ap_50 = draws.estimate(now, objects, outcomes.held, is_ap=True)
    return SizeMistakes(size, objects, found, ap_50, tuple(parts))


def _put_right(outcomes: Outcomes, kind: MistakeKind) -> tuple[Curve, ...]:
    """The curves after one kind of mistake was corrected.

    A missed object no longer counts. A detection with a poor box or the wrong class becomes a hit, if its object was
    not found and no better detection becomes the hit. The other ones are removed, and so are all detections of the
    kinds that can't become a hit.
    """
    if kind == "missed":
        return _curves(outcomes, wanted=outcomes.wanted & ~outcomes.missed)
    wrong = outcomes.of_kind(kind)
    if kind in _NEVER_HITS:
        return _curves(outcomes, counted=outcomes.counted & ~wrong)
    found, objects = outcomes.scene.found, outcomes.scene.objects
    rows = np.flatnonzero(wrong)
    rows = rows[(outcomes.wanted & ~outcomes.taken)[outcomes.truth[rows]]]
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    rows = rows[np.unique(outcomes.truth[rows], return_index=True)[1]]
    hit, label = outcomes.hit.copy(), found.label.copy()
    hit[rows], label[rows] = True, objects.label[outcomes.truth[rows]]
    return _curves(outcomes, hit=hit, counted=(outcomes.counted & ~wrong) | hit, label=label)


def _curves(
    outcomes: Outcomes,
    *,
    wanted: Bools | None = None,
    hit: Bools | None = None,
    counted: Bools | None = None,
    label: Ints | None = None,
) -> tuple[Curve, ...]:
    """One curve per class; arguments that are given replace the values of `outcomes`."""
    scene = outcomes.scene
    wanted = outcomes.wanted if wanted is None else wanted
    hit = outcomes.hit if hit is None else hit
    counted = outcomes.counted if counted is None else counted
    label = scene.found.label if label is None else label
    order = np.lexsort((-scene.found.scores, label))
    order = order[counted[order]]
    cells = (scene.objects.label * scene.n_images + scene.objects.image)[wanted]
    truths = np.bincount(cells, minlength=scene.n_classes * scene.n_images).reshape(scene.n_classes, scene.n_images)
    ends = np.searchsorted(label[order], np.arange(1, scene.n_classes))
    return tuple(
        Curve(scene.found.image[rows], hit[None, rows], counted[None, rows], truths[number])
        for number, rows in enumerate(np.split(order, ends))
    )


def _average_precisions(curves: Mapping[str, tuple[Curve, ...]], n_images: int, draws: Draws) -> dict[str, Doubles]:
    """By name (1 + replicates,): AP of the images as they are, then of each draw."""
    evaluation = Evaluation({}, {name: Metric("precision", name) for name in curves}, dict(curves), n_images)
    return replicate_values(evaluation, list(curves), draws.weights)


def _kind(outcomes: Outcomes, row: int) -> MistakeKind:
    """The kind of a detection's mistake; `missed` for no detection (-1), and for one that found its object.

    The second case is an object that was found with too low a score.
    """
    code = NONE if row == NONE else int(outcomes.kind[row])
    return "missed" if code == NONE else MISTAKE_KINDS[code]


def _spread(rows: Ints, image: Ints, limit: int, each: int = 2) -> Iterator[int]:
    """The first `limit` rows, no more than `each` of one image, so that one bad frame does not fill the page."""
    seen: dict[int, int] = {}
    for row in rows:
        where = int(image[row])
        seen[where] = seen.get(where, 0) + 1
        if seen[where] <= each:
            yield int(row)
            limit -= 1
        if not limit:
            return


def _corners(box_xywh: Doubles) -> Box:
    x, y, width, height = (float(value) for value in box_xywh)
    return x, y, x + width, y + height
