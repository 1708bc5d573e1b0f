"""What came of a phase by hand, in words, and whether a run has failed."""

from __future__ import annotations

from smallsight.records import EpochRecord
from smallsight.strategy.lineage import followers
from smallsight.strategy.state import PhaseRun, State


def outcome_in_words(state: State, run: PhaseRun) -> str:
    """Sentences on a closed phase.

    Args:
        state: as far as the journal goes; later phases that start from this one are named.
        run: a phase of it.
    """
    sentences = [_comparison(state, run), _champion(state, run)]
    if run.trains and run.crowned is None and (run.verdict or run.over_start):
        sentences.append("By hand nothing is rolled back: the next phase starts from what --resume names")
    for other, epoch in followers(state, run):
        sentences.append(f"Phase {other.name} (epochs {_epochs(other)}) starts from its epoch {epoch}")
    return " ".join(f"{sentence.removesuffix('.')}." for sentence in sentences if sentence)


def _comparison(state: State, run: PhaseRun) -> str:
    """The verdict against the start; against the champion where that is another one, too."""
    before = champion_before(state, run)
    if run.over_start is None or run.start is None:
        return f"Against the champion, {_of(before)}: {run.verdict.reason}" if run.verdict else _first(state, run)
    again = f" at {run.records[-1].resolution} px" if not run.trains else ""
    found = f"Against epoch {run.start.epoch}, from which it starts{again}: {run.over_start.reason}"
    is_champion = before is not None and (before[0].number, before[1]) == (run.start.phase_number, run.start.epoch)
    if run.verdict is None or is_champion:
        return found
    return f"{found}. Against the champion, {_of(before)}: {run.verdict.reason}"


def _first(state: State, run: PhaseRun) -> str:
    if not run.trains and run.records:
        metric = state.plan["target"]["metric"]
        return f"{run.given.path if run.given else 'The start'} as it came: {_figure(run.records[-1], metric)}"
    return "First phase of this folder; not compared"


def _champion(state: State, run: PhaseRun) -> str:
    if run.crowned is not None:
        return f"Its epoch {run.crowned} became the champion (checkpoint_best.pth)"
    before = champion_before(state, run)
    return f"The champion stays {_of(before)}" if before else ""


def has_failed(state: State) -> bool:
    """Whether nothing goes on before a person has looked: a phase by hand failed, or a strategy was halted."""
    run = state.runs[-1] if state.runs else None
    if run is None or run.current is None or run.current.status != "failed" or run.interrupted:
        return False
    return state.kind == "train" if run.closed else run.forgiven == len(run.failures)


def champion_before(state: State, run: PhaseRun) -> tuple[PhaseRun, int] | None:
    """The phase and the epoch of the champion that a phase met."""
    earlier = [(other, other.crowned) for other in state.runs[: run.number - 1] if other.crowned is not None]
    return earlier[-1] if earlier else None


def _of(champion: tuple[PhaseRun, int] | None) -> str:
    return "unknown" if champion is None else f"epoch {champion[1]} of {champion[0].name}"


def _epochs(run: PhaseRun) -> str:
    if run.records:
        return f"{run.records[0].epoch} to {run.records[-1].epoch}"
    return f"from {run.current.first_epoch} on" if run.current else "not begun"


def _figure(record: EpochRecord, metric: str) -> str:
    return f"{metric} {record.metrics[metric]}" if metric in record.metrics else f"{metric} not known"
