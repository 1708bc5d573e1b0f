"""What a reader should know first: target, improvement, recent trend, what the strategy would change, what is next."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from smallsight.config.load import build_config
from smallsight.records import Decision, EpochRecord
from smallsight.report.findings import Analysis, Insight, Opportunity
from smallsight.report.history import History, PhaseStory, latest_per_epoch
from smallsight.report.opportunities import command
from smallsight.report.words import counted, ends_of, written
from smallsight.run.state import Attempt, Champion, PhaseRun, State, Status
from smallsight.strategy.plan import BASELINE
from smallsight.strategy.tree import decide

_SHOWN = 2
"""Number of opportunities that get a line each; the others share one line."""


def insights(history: History, analysis: Analysis) -> tuple[Insight, ...]:
    """One line per topic, from the history and its configuration; topics of which nothing is known are left out.

    Args:
        history: what is reported on.
        analysis: of that history, with its opportunities.
    """
    found = analysis.opportunities
    return tuple(itertools.chain(_figures(history, analysis), _changes(found), _conclusion(history, found)))


def _figures(history: History, analysis: Analysis) -> Iterator[Insight]:
    current, target = analysis.current, history.target
    if current is None:
        return
    value = f"{analysis.metric} is {written(current.value)} ({current.value.value:.1%}) at epoch {current.epoch}"
    goal = f"the target of {target.minimum:.2f} to {target.success:.2f}"
    gap = analysis.gap_to_target
    yield Insight("target", f"{value}, {f'{gap:.3f} below' if gap > 0 else 'at'} {goal}.")
    if not math.isnan(analysis.per_recorded_step):
        yield Insight("improvement", _improvement(history, analysis))
    if analysis.momentum.known:
        yield Insight("recent trend", _recent(history, analysis))


def _improvement(history: History, analysis: Analysis) -> str:
    steps, total = analysis.recorded - 1, written(analysis.total_improvement, "+.3f")
    words = f"{written(analysis.per_recorded_step, '+.4f')} per recorded step ({total} in {counted(steps, 'step')})"
    missing = _not_recorded([r.epoch for r in _known(history)])
    words += f", {written(analysis.per_elapsed_epoch, '+.4f')} per elapsed epoch ({counted(analysis.elapsed, 'epoch')})"
    if missing:
        words += f". The two differ because {missing} not recorded: a step then spans more than one epoch"
    words += f". Fitted to all epochs, the rate is {written(analysis.rate_per_epoch, '+.4f')} per elapsed epoch"
    return f"{words}."


def _recent(history: History, analysis: Analysis) -> str:
    move = analysis.momentum
    last = [r.epoch for r in _known(history)][-move.n :]
    words = f"{written(move, '+.3f')} over the last {move.n} recorded epochs ({last[0]} to {last[-1]})"
    return f"{words}; two epochs differ by as much by chance." if move.low <= 0 <= move.high else f"{words}."


def _known(history: History) -> list[EpochRecord]:
    return [r for r in latest_per_epoch(history.records) if not math.isnan(r.value(history.target.metric))]


def _not_recorded(epochs: Sequence[int]) -> str:
    """The epochs missing in between, as the subject of a sentence with its verb; empty for none."""
    gaps = [(one + 1, other - 1) for one, other in itertools.pairwise(epochs) if other - one > 1]
    names = [f"{first}" if first == last else f"{first} to {last}" for first, last in gaps]
    count = sum(last - first + 1 for first, last in gaps)
    return f"epoch{'s' * (count != 1)} {', '.join(names)} {'was' if count == 1 else 'were'}" if gaps else ""


def _changes(found: Sequence[Opportunity]) -> Iterator[Insight]:
    for number, opportunity in enumerate(found[:_SHOWN]):
        topic = ("biggest" if _is_biggest(opportunity, found) else "first") if number == 0 else "second"
        gain = _expected(opportunity)
        expected = f": the strategy expects {gain}" if gain else ""
        text = f"{opportunity.what}. {opportunity.title}{expected}; {opportunity.risk} risk."
        yield Insight(f"{topic} opportunity", text, opportunity.command)
    if rest := found[_SHOWN:]:
        each = [o.phase + (f" ({gain})" if (gain := _expected(o)) else "") for o in rest]
        yield Insight("further opportunities", f"{', '.join(each)}.")


def _is_biggest(opportunity: Opportunity, found: Sequence[Opportunity]) -> bool:
    """Whether none is expected to gain more."""
    gains = [other.expected_gain[1] for other in found if other.expected_gain is not None]
    return opportunity.expected_gain is not None and opportunity.expected_gain[1] == max(gains)


def _expected(opportunity: Opportunity) -> str:
    return ends_of(opportunity.expected_gain, "+.2f") if opportunity.expected_gain else ""


def _conclusion(history: History, found: Sequence[Opportunity]) -> Iterator[Insight]:
    decision = next_decision(history)
    if decision is None:
        return
    phase = next((p for p in history.plan.phases if p.name == decision.phase), None) if history.plan else None
    words = f"Next by the strategy: {decision.reason}" if phase is not None else decision.reason
    biggest = found[0] if found and _is_biggest(found[0], found) else None
    if biggest is not None and biggest.phase != decision.phase:
        words += f" After it: {biggest.title}, the biggest opportunity."
    yield Insight("conclusion", words, command(history, phase, decision.settings) if phase is not None else "")


def next_decision(history: History) -> Decision | None:
    """The strategy's next decision for recorded epochs or for phases by hand; None where it can't be made.

    Recorded epochs count as the strategy's baseline. A phase by hand that corresponds to a phase of the strategy counts
    as that phase. The champion is the run's, or else the latest epoch.
    """
    records, by_hand = _known(history), history.phases if history.by_hand else ()
    unfinished = any(story.outcome in ("running", "interrupted", "halted") for story in by_hand[-1:])
    if history.plan is None or history.config is None or not records or unfinished:
        return None
    if (history.phases and not history.by_hand) or history.plan.target.metric != history.target.metric:
        return None
    trained = [story for story in by_hand if story.begun and not story.only_measures]
    runs = [_as_run(BASELINE, records, "completed")]
    for story in trained:
        own = [r for r in records if story.start_epoch <= r.epoch <= story.end_epoch]
        runs.append(_as_run(story.part, own, "failed" if story.outcome == "failed" else "completed", story))
    champion = Champion(BASELINE, 1, 1, history.champion or records[-1], {})
    state = State(runs=tuple(runs), champion=champion, baseline=records[0])
    return decide(state, history.plan, build_config(history.config, history.source))


def _as_run(name: str, records: Sequence[EpochRecord], status: Status, story: PhaseStory | None = None) -> PhaseRun:
    epochs = [r.epoch for r in records] or [0]
    attempt = Attempt(
        1, {}, epochs[0], epochs[-1], tuple(records), status, failure="failed" if status == "failed" else ""
    )
    verdict = story.verdict if story is not None else None
    return PhaseRun(name, 1, Decision("run", "recorded", name), (attempt,), closed=True, verdict=verdict)
