"""Cost of a run, measured before it begins: time and memory of each phase; and the smallest gain that can be shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from smallsight.commands.inputs import Inputs
from smallsight.config.load import Config, with_settings
from smallsight.data.groups import groups_of
from smallsight.evaluation.bootstrap import Units
from smallsight.evaluation.power import SPREADS, SmallestGain, images_for, over_spreads, smallest_gain_on
from smallsight.run.folder import is_running
from smallsight.strategy.plan import BASELINE, Phase, Plan
from smallsight.strategy.relief import in_words, next_rung
from smallsight.strategy.repeats import changes_nothing
from smallsight.training.rehearsal import Rehearsal, costs_alike, rehearse

LIMIT_S = 60.0
"""How long a dry run measures; phases after that time are not measured."""
Rehearse = Callable[[Config, int, float], Rehearsal]


@dataclass(frozen=True)
class PhaseCost:
    """The cost of a phase.

    Attributes:
        name: of the phase.
        epochs: of training; 0 for one evaluation of a checkpoint.
        config: with the settings of the phase.
        measured: time and memory of a step and of an epoch.
    """

    name: str
    epochs: int
    config: Config
    measured: Rehearsal

    @property
    def seconds(self) -> float | None:
        """Estimated time of the whole phase; None where not known."""
        training, evaluation = self.measured.training_s, self.measured.evaluation_s
        if training is None or evaluation is None:
            return None
        return self.epochs * (training + evaluation) if self.epochs else evaluation

    def as_row(self) -> dict[str, Any]:
        """JSON values: times in seconds, memory in MB, null where not known."""
        return {
            "seconds": self.seconds,
            "seconds_per_epoch": self.seconds and self.seconds / max(1, self.epochs),
            "memory_mb": self.measured.peak_mb,
            "memory_limit_mb": self.measured.limit_mb,
            "fits": self.measured.fits,
            "device": self.measured.device,
            "not_measured": self.measured.failure,
        }


def costs_of(inputs: Inputs, *, limit_s: float = LIMIT_S, measure: Rehearse = rehearse) -> list[PhaseCost]:
    """Measure the baseline and each phase, as if every phase before it that fits into memory had been kept.

    Phases that differ only in what takes neither time nor memory are measured once. Phases whose settings are in force
    from the start are left out, as in a run.

    Args:
        inputs: of the run.
        limit_s: for all phases together; phases for which no time is left are not measured.
        measure: see `rehearse`.
    """
    until, found = time.monotonic() + limit_s, list[PhaseCost]()
    config, longest = inputs.config, 0.0
    running = is_running(inputs.folder)
    for name, epochs, settings in _stages(inputs):
        tried = with_settings(config, settings(config), name)
        known = next((each.measured for each in found if costs_alike(each.config, tried)), None)
        began = time.monotonic()
        if known is not None:
            measured = known
        elif running:
            measured = Rehearsal(failure=f"a run works in {inputs.folder} now")
        elif until - began <= longest:
            measured = Rehearsal(failure=f"measuring ends after {limit_s:.0f} s")
        else:
            measured = measure(tried, epochs, until - began)
            longest = max(longest, time.monotonic() - began)
        found.append(PhaseCost(name, epochs, tried, measured))
        config = config if measured.fits is False else tried
    return found


def _stages(inputs: Inputs) -> Iterator[tuple[str, int, Callable[[Config], dict[str, Any]]]]:
    plan = inputs.plan
    yield BASELINE, 0 if inputs.origin.resume else plan.baseline_epochs(inputs.config), lambda _: {}
    for phase in plan.phases:
        if changes_nothing(phase, inputs.config):
            continue
        yield phase.name, phase.epochs, phase.settings


def smallest_gain_of(inputs: Inputs) -> SmallestGain | None:
    """The smallest gain of the target metric that the validation set can show, resampled as for a verdict.

    None where it is not known for that metric.
    """
    valid, plan = inputs.valid, inputs.plan
    units = Units.of(len(valid), groups_of(valid), inputs.config.evaluation.resample)
    return smallest_gain_on(valid.truths, units, plan.target.metric, plan.verdict.confidence)


def total_of(costs: Sequence[PhaseCost]) -> dict[str, Any]:
    """All phases together: `epochs`; `seconds` of the phases that have a time (`all_measured` says whether all have);
    `memory_mb`, the highest peak."""
    seconds = [cost.seconds for cost in costs]
    peaks = [cost.measured.peak_mb for cost in costs if cost.measured.peak_mb is not None]
    known = [each for each in seconds if each is not None]
    return {
        "epochs": sum(cost.epochs for cost in costs),
        "seconds": sum(known) if known else None,
        "all_measured": len(known) == len(seconds),
        "memory_mb": max(peaks, default=None),
    }


def costs_as_text(costs: Sequence[PhaseCost]) -> list[str]:
    """A table of epochs, time and memory."""
    total = total_of(costs)
    device = next((cost.measured.device for cost in costs if cost.measured.device), None)
    limit = next((cost.measured.limit_mb for cost in costs if cost.measured.limit_mb), None)
    of = "" if limit is None else f" of {limit / 1e3:.1f}"
    rows = [("phase", "epochs", "time", f"memory{of} GB" if of else "memory", "")]
    for cost in costs:
        rows.append((cost.name, f"{cost.epochs}", _time(cost.seconds), _memory(cost.measured.peak_mb), _why_not(cost)))
    least = "" if total["all_measured"] or total["seconds"] is None else "at least "
    rows.append(("all", f"{total['epochs']}", least + _time(total["seconds"]), _memory(total["memory_mb"]), ""))
    measured = f"one training step and one evaluation batch were tried on {device}" if device else "not measured"
    return [
        f"Approximate time and memory of each phase ({measured}; all phases before it are assumed to be kept):",
        *table(rows),
    ]


def _why_not(cost: PhaseCost) -> str:
    measured = cost.measured
    if measured.fits is False:
        rung = next_rung(cost.config)
        relief = f"; a run goes on {in_words({}, rung)}" if rung else "; a run goes on without this phase"
        return f"does not fit into memory{relief}"
    what = "not measured" if measured.peak_mb is None else "time not measured"
    return f"{what}: {measured.failure}" if measured.failure else ""


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _memory(mb: float | None) -> str:
    return "-" if mb is None else f"{mb / 1e3:.2f}"


def gain_as_row(found: SmallestGain, plan: Plan) -> dict[str, Any]:
    """Plain values; gains are null where none can be shown."""
    row, less = asdict(found), [each.name for each in _expecting_less(found, plan)]
    gains: dict[str, Any] = {}
    for name in ("gain", "gain_at_best"):
        shown = math.isfinite(row[name])
        gains |= {name: row[name] if shown else None, f"{name}_range": over_spreads(row[name]) if shown else None}
    return {**row, **gains, "phases_expecting_less": less}


def _expecting_less(found: SmallestGain, plan: Plan) -> list[Phase]:
    """The phases whose lower expected gain can't be shown reliably; one that changes no setting needs no proof."""
    changing = (each for each in plan.phases if each.set or each.scale)
    return [each for each in changing if each.expected_gain is not None and each.expected_gain[0] < found.gain]


def gain_as_text(found: SmallestGain | None, plan: Plan) -> str:
    """What the validation set can show, and which phases are expected to gain less."""
    metric = plan.target.metric
    if found is None:
        return f"Smallest gain that the validation set can show: not known for {metric}."
    size = f"{found.n_objects} such objects in {found.n_images} images"
    if found.n_units != found.n_images:
        size += f" of {found.n_units} clips; images of one clip resemble each other, which makes this gain larger"
    if found.gain > 1:
        return (
            f"Smallest gain that the validation set can show: none, at {found.confidence:.0%} confidence ({size}). "
            "Add labelled images, or lower verdict.confidence of the strategy."
        )
    text = (
        f"Smallest gain of {metric} that the validation set shows in {found.power:.0%} of the cases at "
        f"{found.confidence:.0%} confidence: about {_gains(found)}; the set holds {size}. The range covers the lowest "
        "and the highest spread per object that was measured on match frames."
    )
    less = _expecting_less(found, plan)
    least = min((each.expected_gain[0] for each in less if each.expected_gain is not None), default=0.0)
    if least <= 0:
        return text
    names = ", ".join(each.name for each in less)
    few, about, many = (
        f"{_two_digits(images_for(least, found.confidence, *spread)):,.0f}"
        for spread in ((SPREADS[0],), (), (SPREADS[1],))
    )
    return (
        f"{text} Expected to gain less than can be shown: {names}. To show +{least:g}, about {about} images with such "
        f"objects are needed ({few} to {many})."
    )


def _gains(found: SmallestGain) -> str:
    high = _with_range(found.gain)
    if found.n_objects == found.n_images:
        return high
    return f"{high}, or {_with_range(found.gain_at_best)} if the objects of one image are independent of each other"


def _with_range(gain: float) -> str:
    low, high = over_spreads(gain)
    return f"{_signed(gain)} ({_signed(low)} to {_signed(high)})"


def _signed(gain: float) -> str:
    """`+0.030`: two digits, for no more are known; an AP gains 1 at most."""
    return f"+{_two_digits(min(gain, 1.0)):#.2g}"


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def risks_as_text(plan: Plan) -> list[str]:
    """A table of the risk of each phase and its mitigation."""
    if not plan.phases:
        return []
    rows = [("phase", "risk", "mitigation")] + [(each.name, each.risk, each.mitigation) for each in plan.phases]
    return ["Risks:", *table(rows)]


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with columns of one width each, two spaces between them."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [f"  {line.rstrip()}" for line in lines]
