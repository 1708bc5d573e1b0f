"""What `optimize` and `train` do: hold the run folder, train, judge, and bring the files of the run up to date."""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from smallsight.champion import detections_on, examine, judged
from smallsight.commands.disk import Disk, taken
from smallsight.commands.inputs import Inputs, read_inputs, strategy_inputs
from smallsight.commands.sets import guard_of
from smallsight.config import load_config
from smallsight.data.coco import Dataset
from smallsight.data.frames import decode
from smallsight.data.groups import groups_of
from smallsight.errors import Interrupted, SmallsightError, visible
from smallsight.evaluation.bootstrap import Resampled, Units, resample
from smallsight.evaluation.verdict import judge
from smallsight.files import write_text_atomically
from smallsight.records import Verdict
from smallsight.report.analysis import analyse
from smallsight.report.document import to_document, write_report
from smallsight.report.story import tell
from smallsight.report.summary import print_summary
from smallsight.report_files import write_everything
from smallsight.status import JOURNAL, going_on, live_writer, summary_of
from smallsight.strategy.folder import (
    Origin,
    hold,
)
from smallsight.strategy.journal import Journal
from smallsight.strategy.means import Compare, Means
from smallsight.strategy.plan import Plan
from smallsight.strategy.runner import Run
from smallsight.strategy.state import State
from smallsight.terminal import Terminal
from smallsight.training.child import ChildTrainer


def optimize(
    config_path: Path,
    strategy_path: Path | None,
    overrides: Sequence[str],
    output_dir: Path | None,
    resume: Path | None,
    budget_s: float | None,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run or continue a strategy; the report as plain values.

    Raises:
        SmallsightError: see `errors`.
    """
    inputs = strategy_inputs(config_path, strategy_path, overrides, output_dir, resume)
    with _session(inputs, quiet=quiet) as (run, console):
        run.begin(inputs.config, inputs.plan, "optimize", inputs.origin)
        if run.state.finished:
            console.print("Nothing is left to do in this run.", soft_wrap=True)
        elif run.state.runs:
            run.means.watcher.note(going_on(run.state))
        state = run.optimize(inputs.config, inputs.plan, budget_s)
        return _conclude(inputs, state, console, quiet=quiet)


def train_one_phase(
    config_path: Path, overrides: Sequence[str], output_dir: Path | None, resume: Path | None, *, quiet: bool = False
) -> dict[str, Any]:
    """Run or continue one phase as the configuration says; phases of one folder follow each other in its history.

    Raises:
        SmallsightError: see `errors`.
    """
    loaded, plan = load_config(config_path, overrides), Plan(name="as configured")
    inputs = read_inputs(loaded, plan, output_dir, resume, "train")
    name = "".join(c if c.isalnum() else "_" for c in config_path.stem.lower())
    with _session(inputs, quiet=quiet) as (run, console):
        run.begin(inputs.config, plan, "train", Origin())
        if run.state.open_run is not None and run.state.open_run.name == name:
            run.means.watcher.note(going_on(run.state))
        state = run.train_as_configured(name, inputs.config, plan, inputs.origin)
        return _conclude(inputs, state, console, quiet=quiet)


@contextlib.contextmanager
def _session(inputs: Inputs, *, quiet: bool) -> Iterator[tuple[Run, Console]]:
    """The run folder, held and journalled, with a terminal that follows it."""
    console = Console(stderr=quiet, highlight=False)
    show_warnings(inputs.warnings)
    for dataset in inputs.unseen:
        _decode_all(dataset)
    with (
        hold(inputs.folder),
        Journal(inputs.folder / JOURNAL) as journal,
        Terminal(console, inputs.plan.target.metric) as terminal,
    ):
        strategy = inputs.plan if inputs.plan.phases else None
        disk = Disk(inputs.folder, inputs.config, strategy, lambda: run.state, terminal.note)

        def published(state: State) -> None:
            publish(inputs.folder, state)
            disk.prune(state)

        means = Means(
            train=disk.watched(ChildTrainer(live_writer(inputs.folder, terminal.progress))),
            compare=comparison(inputs),
            watcher=terminal,
            publish=published,
        )
        run = Run(inputs.folder, journal, means)
        try:
            yield run, console
        except Interrupted:
            run.write("interrupted")
            publish(inputs.folder, run.state)
            raise


def _decode_all(dataset: Dataset) -> None:
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda entry: decode(entry).nbytes, dataset.images):
            pass


def show_warnings(warnings: Sequence[str]) -> None:
    console = Console(stderr=True, highlight=False)
    for warning in warnings:
        console.print(f"Warning: {visible(warning)}", soft_wrap=not console.is_terminal, markup=False)


def comparison(inputs: Inputs) -> Compare:
    """Judges phases on the validation set; each file is evaluated once, since a candidate may be the next champion.

    What it returns raises:
        RunFolderError: a file was made on other images.
    """
    settings, plan, valid = inputs.config.evaluation, inputs.plan, inputs.valid
    target, guard = plan.target.metric, plan.guard.metric
    guarded = guard_of(inputs.config, plan, inputs.further)

    @cache
    def units() -> Units:
        return Units.of(len(valid), groups_of(valid), settings.resample)

    @cache
    def resampled(path: Path, *metrics: str) -> Resampled:
        evaluation = judged(inputs.config, valid, detections_on(valid, path))
        return resample(evaluation, metrics, units(), replicates=settings.replicates)

    def side(files: Sequence[Path]) -> list[Resampled]:
        chosen, *others = files
        return [resampled(chosen, target, guard), *(resampled(path, target) for path in others)]

    def compare(candidates: Sequence[Path], champions: Sequence[Path]) -> Verdict:
        verdict = judge(
            side(candidates),
            side(champions),
            target=target,
            guard=guard,
            max_guard_drop=plan.guard.max_drop,
            confidence=plan.verdict.confidence,
        )
        return guarded(verdict, candidates[0], champions[0])

    return compare


def publish(folder: Path, state: State) -> None:
    """Bring `status.json`, `metrics.csv` and the report up to date with the journal.

    A fault in a sentence of the report ends no training of days: it is written down, and the journal has everything.
    """
    write_text_atomically(folder / "status.json", json.dumps(summary_of(state), indent=1))
    try:
        if state.records:
            write_report(folder, tell(folder, state))
    except (SmallsightError, OSError):
        raise
    except Exception:
        write_text_atomically(folder / "report_error.txt", traceback.format_exc())


def _conclude(inputs: Inputs, state: State, console: Console, *, quiet: bool) -> dict[str, Any]:
    folder = inputs.folder
    history, evidence = tell(folder, state), examine(folder, state, inputs.config.evaluation.sets)
    analysis, page = analyse(history), write_everything(folder, history, state, evidence)
    if not quiet:
        print_summary(console, history, analysis, page, evidence)
    console.print(taken(folder, state).in_words(), soft_wrap=True)
    return to_document(history, analysis, evidence)
