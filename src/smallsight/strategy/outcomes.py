"""The outcome of a phase by hand in words, and why a run does not go on."""

from __future__ import annotations

from smallsight.records import EpochRecord
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.budget import seconds_of_epoch
from smallsight.strategy.lineage import followers, record_at
from smallsight.strategy.tree import NO_CHANGE


def outcome_in_words(state: State, run: PhaseRun) -> str:
    """Sentences on a closed phase.

    Args:
        state: as far as the journal goes; later phases that start from this one are named.
        run: a phase of it.
    """
    sentences = [_comparison(state, run), _champion(state, run)]
    if run.trains and run.crowned is None and (run.verdict or run.over_start):
        sentences.append(f"By hand nothing is rolled back: {_goes_on(state, run)}")
    return " ".join(f"{sentence.removesuffix('.')}." for sentence in sentences if sentence)


def _goes_on(state: State, run: PhaseRun) -> str:
    """What starts from a phase that did not give the champion."""
    went_on = [
        f"{other.name} (epochs {other.records[0].epoch} to {other.records[-1].epoch}) starts from its epoch {epoch}"
        for other, epoch in followers(state, run)
        if other.records
    ]
    return " and ".join(went_on) or "the next phase starts from what --resume names"


def _comparison(state: State, run: PhaseRun) -> str:
    """The verdict against the start; against the champion where that is another one, too."""
    before = champion_before(state, run)
    if run.over_start is None or run.start is None:
        return f"Against the champion, {_of(before)}: {run.verdict.reason}" if run.verdict else _first(state, run)
    start = record_at(state, run.start)
    what = f"Against epoch {run.start.epoch}, from which it starts"
    if not run.trains and run.records and start is not None:
        now, then = run.records[-1].resolution, start.resolution
        what = f"Epoch {run.start.epoch} at {now} px, before any training, against the same epoch at {then} px"
    found = f"{what}: {run.over_start.reason}"
    is_champion = before is not None and (before[0].number, before[1]) == (run.start.phase_number, run.start.epoch)
    if run.verdict is None or is_champion:
        return found
    metric = state.plan["target"]["metric"]
    return f"{found}. Against the champion, {_of(before)}: {metric} {run.verdict.difference:+.3f}"


def _first(state: State, run: PhaseRun) -> str:
    if not run.trains and run.records:
        metric = state.plan["target"]["metric"]
        return f"{run.given.path if run.given else 'The start'} as it came: {_figure(run.records[-1], metric)}"
    return "First phase of this folder; not compared"


def _champion(state: State, run: PhaseRun) -> str:
    if run.crowned is not None:
        champion = f"epoch {run.crowned} became the champion (checkpoint_best.pth)"
        kept = run.verdict is not None and run.verdict.outcome == "kept"
        return f"Its {champion}: {NO_CHANGE}" if kept else f"Its {champion}"
    before = champion_before(state, run)
    return f"The champion stays {_of(before)}" if before else ""


def has_failed(state: State) -> bool:
    """Whether nothing goes on before a person has looked: a phase by hand failed, or a strategy was halted."""
    if state.kind == "train":
        last = state.runs[-1] if state.runs else None
        if last is None or last.current is None or not last.closed:
            return False
        return last.status == "failed" and not last.interrupted
    return any(run.given_up for run in state.open_runs)


def out_of_budget(state: State) -> bool:
    """Whether a run that is not done stopped because no other epoch fits into its time."""
    run = state.open_run
    if state.done or state.budget_s is None or (run is not None and run.records):
        return False
    left = state.budget_s - state.elapsed_s
    return left <= 0 or left < seconds_of_epoch(state.records)


def champion_before(state: State, run: PhaseRun) -> tuple[PhaseRun, int] | None:
    """The phase and the epoch of the champion that a phase met."""
    earlier = [(other, other.crowned) for other in state.runs[: run.number - 1] if other.crowned is not None]
    return earlier[-1] if earlier else None


def _of(champion: tuple[PhaseRun, int] | None) -> str:
    return "unknown" if champion is None else f"epoch {champion[1]} of {champion[0].name}"


def _figure(record: EpochRecord, metric: str) -> str:
    return f"{metric} {record.metrics[metric]}" if metric in record.metrics else f"{metric} not known"
