"""How much of a gain is due to what a phase changes, in sentences: only a control beside it can tell."""

from __future__ import annotations

import re

from smallsight.records import Estimate
from smallsight.report.history import Extrapolation, History, PhaseStory
from smallsight.report.words import counted, written


def cause_in_words(history: History, story: PhaseStory) -> str:
    """What a phase measured, and how much of it is more training; empty where nothing was compared."""
    verdict, metric = story.verdict, history.target.metric
    if verdict is None or not verdict.difference.known or story.only_measures:
        return ""
    over = f"{metric} {written(verdict.difference, '+.3f')} over {compared_with(history)}"
    if story.control:
        told = "More training became the champion: " if story.crowned is not None else "More training alone: "
        return f"{told}{over}, with the settings unchanged."
    if not story.changes:
        return f"{over}: it changes no setting, so this is more training."
    if verdict.over_control is not None:
        return f"{over}{_shared(verdict.difference, verdict.over_control)}"
    unknown = f"{over}; how much of it is {subject(story)} is not known, because no control was trained."
    return f"{unknown} {_trend(story.extrapolated)}" if story.extrapolated else unknown


def cause_cells(history: History) -> tuple[tuple[str, str], ...]:
    """The name of each phase of which that can be said, and what."""
    told = ((story.name, cause_in_words(history, story)) for story in history.phases)
    return tuple((name, words) for name, words in told if words)


def compared_with(history: History) -> str:
    """What a phase is compared with: `the champion`, or what a phase by hand starts from."""
    return "the start" if history.by_hand else "the champion"


def _shared(whole: Estimate, own: Estimate) -> str:
    """The part of a gain that the control did not have."""
    if 0 <= own.value <= whole.value:
        return f", of which {written(own, '+.3f')} over the control; the rest is more training."
    return f", and {written(own, '+.3f')} over the control, which trained as long without the change."


def _trend(found: Extrapolation) -> str:
    return (
        f"More training alone, extrapolated from the trend of {found.phase} ({counted(found.seen, 'epoch')}) over "
        f"{counted(found.epochs, 'epoch')}: {written(found.gain, '+.3f')}."
    )


def subject(story: PhaseStory) -> str:
    """A phase's title as a part of a sentence: `multi-scale training` of `Phase 2: multi-scale training`."""
    title = story.title.removesuffix(f" ({story.name})")
    if title == story.name and story.name != story.part:
        return "the change of settings"
    words = re.sub(r"^(Phase|Step) [^:]*: +", "", title)
    return words[:1].lower() + words[1:] if words[1:2].islower() else words
