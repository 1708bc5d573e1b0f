"""Judges what was trained by its detections on the validation set."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from smallsight.commands.inputs import Inputs
from smallsight.commands.sets import guard_of
from smallsight.data.groups import groups_of
from smallsight.evaluation.arms import behind_leader, judge_arms
from smallsight.evaluation.bootstrap import Resampled, Units, resample
from smallsight.evaluation.verdict import judge
from smallsight.records import Verdict
from smallsight.report.champion import detections_on, judged
from smallsight.strategy.means import Files


class DetectionsJudge:
    """See `strategy.means.Judge`. Each file is evaluated once, since a candidate may be the next champion.

    Its methods raise:
        RunFolderError: a file was made on other images.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs, self._plan = inputs, inputs.plan
        self._guarded = guard_of(inputs.config, inputs.plan, inputs.further)
        self._units, self._resampled = cache(self._draw), cache(self._resample)

    def phase(self, candidates: Files, champions: Files, rise_confidence: float) -> Verdict:
        """See `strategy.means.Judge`."""
        target, guard = self._plan.target.metric, self._plan.guard
        verdict = judge(
            self._side(candidates),
            self._side(champions),
            target=target,
            guard=guard.metric,
            max_guard_drop=guard.max_drop,
            confidence=self._plan.verdict.confidence,
            rise_confidence=rise_confidence,
        )
        return self._guarded(verdict, candidates[0], champions[0])

    def arms(
        self, arms: Mapping[int, Files], controls: Mapping[int, Files], champions: Files, rise_confidence: float
    ) -> Mapping[int, Verdict]:
        """See `strategy.means.Judge`."""
        guard = self._plan.guard
        verdicts = judge_arms(
            {number: self._side(files) for number, files in arms.items()},
            {number: self._side(files) for number, files in controls.items()},
            self._side(champions),
            target=self._plan.target.metric,
            guard=guard.metric,
            max_guard_drop=guard.max_drop,
            confidence=self._plan.verdict.confidence,
            rise_confidence=rise_confidence,
        )
        return {n: self._guarded(verdict, arms[n][0], champions[0]) for n, verdict in verdicts.items()}

    def behind(self, arms: Mapping[int, Files]) -> Mapping[int, str]:
        """See `strategy.means.Judge`."""
        target, confidence = self._plan.target.metric, self._plan.verdict.confidence
        return behind_leader({n: self._side(files) for n, files in arms.items()}, target=target, confidence=confidence)

    def _side(self, files: Files) -> list[Resampled]:
        """The chosen epoch's figures with the guard metric's, and those of the epochs that it was chosen from."""
        chosen, *others = files
        target, guard = self._plan.target.metric, self._plan.guard.metric
        return [self._resampled(chosen, target, guard), *(self._resampled(path, target) for path in others)]

    def _draw(self) -> Units:
        settings, valid = self._inputs.config.evaluation, self._inputs.valid
        return Units.of(len(valid), groups_of(valid), settings.resample)

    def _resample(self, path: Path, *metrics: str) -> Resampled:
        config, valid = self._inputs.config, self._inputs.valid
        evaluation = judged(config, valid, detections_on(valid, path))
        return resample(evaluation, metrics, self._units(), replicates=config.evaluation.replicates)
