"""How well rules tell that training has stopped to improve: 20,000 simulated runs of several shapes.

Each run is a true curve of AP over 60 epochs under noise, some with epochs that were not recorded. A rule looks at each
recorded epoch and stops once. Counted are

- false alarms: stops where the next 10 epochs would still have brought .010 AP or more (.001 per epoch);
- detections: of the runs in which that is over after some epoch, those stopped within 20 epochs of it, not before;
- AP lost: what the best later epoch would have been above the best epoch so far, by the true curve, mean;
- epochs wasted: trained after the true curve came within .002 of the best that it ever reaches, mean.

A rule that waits loses less AP and wastes more epochs, so each family of rules is a curve; the lower left is better.

With `--rho` the noise of an epoch resembles that of the epoch before: their correlation is rho. All intervals and rules
take it as 0, so the last table says how often the 95 % interval of a slope then holds the truth.

With `--standing`: how often the number of further epochs that `trends.standing` names does tell.

    python benchmarks/decisions.py [--runs 20000] [--rho 0] [--figure docs/images/decisions.svg]
    python benchmarks/decisions.py --standing [--runs 1000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from smallsight.strategy.trends import standing

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rule = Callable[["Series"], Ints]

EPOCHS = 60
WORTH_IT, AHEAD = 0.010, 10
DETECT_WITHIN = 20
NEARLY = 0.002


@dataclass(frozen=True, eq=False)
class Series:
    """Simulated runs.

    Attributes:
        shape: (R,) index into `SHAPES`.
        noise: (R,) standard deviation of one epoch.
        truth: (R, EPOCHS) the true curve.
        epochs: (R, EPOCHS) numbers of the recorded epochs, from 0, padded with EPOCHS at the end.
        values: (R, EPOCHS) what was measured at them, NaN in the padding.
    """

    shape: Ints
    noise: Doubles
    truth: Doubles
    epochs: Ints
    values: Doubles

    def only(self, rows: npt.NDArray[np.bool_]) -> Series:
        """Some of the runs."""
        return Series(*(getattr(self, field.name)[rows] for field in fields(self)))


def _saturating(rng: np.random.Generator, n: int) -> Doubles:
    gain, pace = rng.uniform(0.02, 0.15, (n, 1)), rng.uniform(2, 15, (n, 1))
    return np.asarray(gain * (1 - np.exp(-np.arange(EPOCHS) / pace)))


def _linear(rng: np.random.Generator, n: int) -> Doubles:
    return np.asarray(rng.uniform(0.001, 0.005, (n, 1)) * np.arange(EPOCHS))


def _flat(rng: np.random.Generator, n: int) -> Doubles:
    return np.zeros((n, EPOCHS))


def _overfitting(rng: np.random.Generator, n: int) -> Doubles:
    fall, peak = rng.uniform(0.0005, 0.004, (n, 1)), rng.uniform(3, 25, (n, 1))
    return _saturating(rng, n) - fall * np.maximum(np.arange(EPOCHS) - peak, 0)


def _after_a_change(rng: np.random.Generator, n: int) -> Doubles:
    """A warm restart with other settings: a jump down, or up, then a new rise from there."""
    jump, pace = rng.uniform(-0.06, 0.03, (n, 1)), rng.uniform(1, 4, (n, 1))
    return np.asarray(_saturating(rng, n) + jump * np.exp(-np.arange(EPOCHS) / pace))


SHAPES: Mapping[str, Callable[[np.random.Generator, int], Doubles]] = {
    "saturating": _saturating,
    "linear": _linear,
    "flat": _flat,
    "overfitting": _overfitting,
    "after a change": _after_a_change,
}


def correlated(noise: Doubles, rho: float) -> Doubles:
    """Independent standard normals along the last axis made to correlate with their neighbours."""
    found = noise.copy()
    for epoch in range(1, noise.shape[-1]):
        found[..., epoch] = rho * found[..., epoch - 1] + np.sqrt(1 - rho**2) * noise[..., epoch]
    return found


def simulate(runs: int, seed: int = 0, rho: float = 0.0) -> Series:
    """Equally many runs of each shape, noise from .005 to .03; in a third of them 15 % of the epochs are missing.

    Args:
        rho: correlation of an epoch's noise with the next one's.
    """
    rng = np.random.default_rng(seed)
    each = -(-runs // len(SHAPES))
    truth = np.concatenate([0.5 + shape(rng, each) for shape in SHAPES.values()])
    noise = np.exp(rng.uniform(np.log(0.005), np.log(0.03), len(truth)))
    measured = truth + noise[:, None] * correlated(rng.standard_normal(truth.shape), rho)
    missing = (rng.random(truth.shape) < 0.15) & (rng.random((len(truth), 1)) < 1 / 3)
    order = np.argsort(missing, axis=1, kind="stable")
    gone = np.take_along_axis(missing, order, axis=1)
    values = np.where(gone, np.nan, np.take_along_axis(measured, order, axis=1))
    shape = np.repeat(np.arange(len(SHAPES)), each)
    return Series(shape, noise, truth, np.where(gone, EPOCHS, order), values)


def _first(series: Series, fires: npt.NDArray[np.bool_]) -> Ints:
    """(R,) the epoch at which a rule stops: the first that fires, or the last one."""
    fires = fires & ~np.isnan(series.values)
    found = np.take_along_axis(series.epochs, fires.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(fires.any(axis=1), found, EPOCHS - 1)


def slopes(epochs: Doubles, values: Doubles) -> tuple[Doubles, Doubles]:
    """Least-squares slope and its standard error along the last axis, without NaN."""
    x = epochs - epochs.mean(axis=-1, keepdims=True)
    y = values - values.mean(axis=-1, keepdims=True)
    spread = (x**2).sum(axis=-1)
    slope = (x * y).sum(axis=-1) / spread
    left = ((y - slope[..., None] * x) ** 2).sum(axis=-1)
    return slope, np.sqrt(left / (values.shape[-1] - 2) / spread)


def slope_fires(
    series: Series, window: int, confidence: float, fewest: int, threshold: float = 0.001
) -> npt.NDArray[np.bool_]:
    """(R, EPOCHS) where the slope over the last `window` recorded epochs is below the threshold, one-sided."""
    fires = np.zeros(series.values.shape, dtype=bool)
    x = series.epochs.astype(np.float64)
    for last in range(min(fewest, window) - 1, EPOCHS):
        n = min(window, last + 1)
        part = slice(last + 1 - n, last + 1)
        slope, error = slopes(x[:, part], series.values[:, part])
        fires[:, last] = slope + stdtrit(n - 2, confidence) * error < threshold
    return fires


def by_slope(window: int = 16, confidence: float = 0.95, fewest: int = 8) -> Rule:
    """smallsight's rule, with its defaults."""
    return lambda series: _first(series, slope_fires(series, window, confidence, fewest))


def by_patience(patience: int, threshold: float = 0.001) -> Rule:
    """The mission's rule: the best so far grew by less than `threshold` in each of the last `patience` epochs."""

    def rule(series: Series) -> Ints:
        best = np.fmax.accumulate(series.values, axis=1)
        gained = np.diff(best, axis=1, prepend=-np.inf) >= threshold
        index = np.arange(EPOCHS)
        return _first(series, index - np.maximum.accumulate(np.where(gained, index, 0), axis=1) >= patience)

    return rule


def by_reduce_on_plateau(patience: int, threshold: float = 1e-4) -> Rule:
    """torch's ReduceLROnPlateau with mode="max" and its defaults: more than `patience` epochs no better than
    the best so far times 1 + `threshold`; that best moves on only with an epoch that counts as better."""

    def rule(series: Series) -> Ints:
        best, bad = np.full(len(series.values), -np.inf), np.zeros(len(series.values), dtype=np.int64)
        fires = np.zeros(series.values.shape, dtype=bool)
        for epoch in range(EPOCHS):
            value = series.values[:, epoch]
            better = value > best * np.where(best > 0, 1 + threshold, 1)
            best, bad = np.where(better, value, best), np.where(better, 0, bad + 1)
            fires[:, epoch] = bad > patience
        return _first(series, fires)

    return rule


def after(epochs: int) -> Rule:
    """No look at the values at all."""
    return lambda series: np.full(len(series.values), epochs - 1)


@dataclass(frozen=True)
class Outcome:
    """Shares and means over runs; see the top of this file."""

    false_alarms: float
    detections: float
    ap_lost: float
    epochs_wasted: float


def judge(series: Series, stops: Ints) -> Outcome:
    """What stopping there brings."""
    ahead = np.lib.stride_tricks.sliding_window_view(np.pad(series.truth, ((0, 0), (0, AHEAD)), "edge"), AHEAD + 1, 1)
    best = np.maximum.accumulate(series.truth, axis=1)
    worth = ahead.max(axis=2) - best >= WORTH_IT - 1e-9
    over = np.where(worth.any(axis=1), EPOCHS - worth[:, ::-1].argmax(axis=1), 0)
    at_stop = np.take_along_axis(best, stops[:, None], axis=1)[:, 0]
    early = np.take_along_axis(worth, stops[:, None], axis=1)[:, 0] & (stops < EPOCHS - 1)
    ends = over < EPOCHS - DETECT_WITHIN
    detected = (stops >= over) & (stops <= over + DETECT_WITHIN)
    enough = (best >= best[:, -1:] - NEARLY).argmax(axis=1)
    return Outcome(
        float(early.mean()),
        float(detected[ends].mean()) if ends.any() else float("nan"),
        float((best[:, -1] - at_stop).mean()),
        float(np.maximum(stops - enough, 0).mean()),
    )


CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99)
FAMILIES: Mapping[str, Sequence[Rule]] = {
    **{f"slope, window {w}": [by_slope(w, confidence) for confidence in CONFIDENCES] for w in (8, 12, 16, 24)},
    "patience": [by_patience(patience) for patience in range(2, 17)],
    "ReduceLROnPlateau": [by_reduce_on_plateau(patience) for patience in range(1, 16)],
    "a fixed number of epochs": [after(epochs) for epochs in (10, 15, 20, 25, 30, 35, 40)],
}
NAMED: Mapping[str, Rule] = {
    "slope: window 16, 95 % (default)": by_slope(),
    "slope: window 8, 97.5 %, from 5 epochs": by_slope(8, 0.975, 5),
    "the mission's: patience 3": by_patience(3),
    **{f"ReduceLROnPlateau {patience}": by_reduce_on_plateau(patience) for patience in (3, 5, 10)},
}


def print_tables(series: Series) -> None:
    """All named rules over all runs, then the default and the mission's rule by shape and by noise."""
    title = f"{'rule':50s} false alarms  detected  AP lost  epochs wasted"
    print(title)
    for name, rule in NAMED.items():
        print(f"{name:50s} {_row(judge(series, rule(series)))}")
    shown = {name: NAMED[name] for name in list(NAMED)[:3:2]}
    parts = {shape: series.shape == index for index, shape in enumerate(SHAPES)}
    edges = (0.005, 0.01, 0.02, 0.03)
    noise = series.noise
    parts |= {f"noise {low} to {high}": (noise >= low) & (noise < high) for low, high in pairwise(edges)}
    for name, rule in shown.items():
        print(f"\n{name}")
        stops = rule(series)
        for part, rows in parts.items():
            print(f"  {part:48s} {_row(judge(series.only(rows), stops[rows]))}")


def _row(outcome: Outcome) -> str:
    return (
        f"{100 * outcome.false_alarms:10.1f} %  {100 * outcome.detections:6.1f} %  {outcome.ap_lost:7.4f}  "
        f"{outcome.epochs_wasted:13.1f}"
    )


def print_coverage(rho: float, runs: int) -> None:
    """How often the 95 % interval of a slope holds the true one, on a straight line."""
    rng = np.random.default_rng(1)
    print("\nepochs: the 95 % interval of a slope holds the true one, %")
    for n in (8, 16, 20, 40):
        slope, error = slopes(np.arange(n, dtype=float)[None], correlated(rng.standard_normal((runs, n)), rho))
        print(f"  {n:2d}: {100 * np.mean(np.abs(slope) <= stdtrit(n - 2, 0.975) * error):.1f}")


def print_standing(runs: int) -> None:
    """What is told after ten epochs, how often within the number of further epochs that is then named, and after 40."""
    print("slope per epoch, noise: told after 10 epochs; of the others told within the epochs named, mean of these;")
    print("called improving, falling, flat after 40")
    for slope in (0.0, 0.002, 0.004):
        for noise in (0.007, 0.013):
            told, kept, named, later = 0, [], [], list[str]()
            for run in range(runs):
                rng = np.random.default_rng((4, run))
                values = slope * np.arange(80) + noise * rng.standard_normal(80)
                found = standing(range(10), values[:10])
                told += found.course != "undecided"
                later.append(standing(range(40), values[:40]).course)
                if found.course == "undecided" and found.more_epochs <= 70:
                    named.append(found.more_epochs)
                    ends = range(11, 11 + int(found.more_epochs))
                    kept.append(any(standing(range(end), values[:end]).course != "undecided" for end in ends))
            row = f"{told / runs:.0%}; {np.mean(kept):.0%}, {np.mean(named):.1f} (n={len(kept)})"
            courses = ", ".join(f"{later.count(course) / runs:.0%}" for course in ("improving", "falling", "flat"))
            print(f"{slope:.3f}, {noise:.3f}: {row}; {courses}", flush=True)


def draw(series: Series, path: Path) -> None:
    """The trade-off as a figure; needs matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "decisions"
    figure, axes = pyplot.subplots(figsize=(9, 5.5))
    for name, rules in FAMILIES.items():
        points = [judge(series, rule(series)) for rule in rules]
        line = "-" if name.startswith("slope") else "--"
        axes.plot([p.epochs_wasted for p in points], [p.ap_lost for p in points], line, marker=".", label=name)
    for number, (name, rule) in enumerate(NAMED.items(), 1):
        found = judge(series, rule(series))
        axes.plot(found.epochs_wasted, found.ap_lost, "o", color="black", fillstyle="none", label=f"{number}  {name}")
        axes.annotate(str(number), (found.epochs_wasted, found.ap_lost), (5, 4), textcoords="offset points")
    axes.set(yscale="log", xlim=(0, 20), ylim=(5e-4, 6e-2))
    axes.set(xlabel="epochs wasted, mean per run", ylabel="AP lost by stopping, mean per run")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the tables, draw the figure where one is asked for."""
    parser = argparse.ArgumentParser(description="Rules that stop training, on simulated runs.")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--rho", type=float, default=0.0, help="correlation of an epoch's noise with the next one's")
    parser.add_argument("--standing", action="store_true", help="how often the named number of further epochs tells")
    parser.add_argument("--figure", type=Path, help="an .svg file to write")
    given = parser.parse_args()
    if given.standing:
        print_standing(given.runs)
        return
    series = simulate(given.runs, rho=given.rho)
    print_tables(series)
    print_coverage(given.rho, given.runs)
    if given.figure:
        draw(series, given.figure)


if __name__ == "__main__":
    main()
