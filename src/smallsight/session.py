"""What the commands do: read the input, check it whole, then act in the run folder.

No torch here, except where a checkpoint is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.console import Console

from smallsight.champion import detections_on, examine, judged
from smallsight.config import Config, LoadedConfig, filled_path, load_config, refuse_unavailable, start_file
from smallsight.data.coco import ANNOTATION_FILE, Dataset
from smallsight.data.frames import decode
from smallsight.data.groups import groups_of
from smallsight.data.splits import read_splits
from smallsight.errors import ConfigError, DatasetError, Interrupted, RunFolderError, SmallsightError, visible
from smallsight.evaluation.ap import metric_definitions
from smallsight.evaluation.bootstrap import Resampled, Units, resample
from smallsight.evaluation.verdict import judge
from smallsight.files import fingerprint_of, sha256_of, write_text_atomically
from smallsight.records import Verdict
from smallsight.report.analysis import analyse
from smallsight.report.document import REPORT_FILE, to_document, write_report
from smallsight.report.history import History, read_history
from smallsight.report.story import tell
from smallsight.report.summary import print_summary
from smallsight.report_files import comparison_of, write_everything, write_page
from smallsight.sections import Training
from smallsight.status import JOURNAL, going_on, live_writer, read_state, summary_of
from smallsight.strategy.describe import plan_as_rows, plan_as_text
from smallsight.strategy.folder import (
    Origin,
    champion_detections,
    hold,
    refuse_other_annotations,
    refuse_other_settings,
    refuse_other_start,
)
from smallsight.strategy.journal import Journal
from smallsight.strategy.plan import Plan, check_plan, load_plan
from smallsight.strategy.runner import Compare, Means, Run
from smallsight.strategy.state import State
from smallsight.terminal import Terminal
from smallsight.training.child import ChildTrainer
from smallsight.unused_keys import keys_without_effect

DEFAULT_STRATEGY = "small_objects"
SMALL_PX2 = 32.0**2


@dataclass(frozen=True)
class Inputs:
    """Everything a run needs, read and checked before its folder is touched; `unseen` data are new to the folder."""

    config: Config
    source: str
    plan: Plan
    valid: Dataset
    folder: Path
    origin: Origin
    warnings: tuple[str, ...]
    unseen: tuple[Dataset, ...]


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
    inputs = _strategy_inputs(config_path, strategy_path, overrides, output_dir, resume)
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
    inputs = _inputs(loaded, plan, output_dir, resume, "train")
    name = "".join(c if c.isalnum() else "_" for c in config_path.stem.lower())
    with _session(inputs, quiet=quiet) as (run, console):
        run.begin(inputs.config, plan, "train", Origin())
        if run.state.open_run is not None and run.state.open_run.name == name:
            run.means.watcher.note(going_on(run.state))
        state = run.train_as_configured(name, inputs.config, plan, inputs.origin)
        return _conclude(inputs, state, console, quiet=quiet)


def _plan(path: Path | None) -> Plan:
    """The strategy in a file, or the shipped one of that name."""
    name = f"{path or DEFAULT_STRATEGY}"
    shipped = files("smallsight") / "strategies" / f"{name}.yaml"
    if path is not None and (path.is_file() or not shipped.is_file()):
        return load_plan(path)
    with as_file(shipped) as file:
        return load_plan(file)


def _strategy_inputs(
    config_path: Path,
    strategy_path: Path | None,
    overrides: Sequence[str],
    output_dir: Path | None,
    resume: Path | None,
) -> Inputs:
    loaded, plan = load_config(config_path, overrides), _plan(strategy_path)
    warnings = check_plan(plan, loaded.config, str(strategy_path or DEFAULT_STRATEGY))
    inputs = _inputs(loaded, plan, output_dir, resume, "optimize")
    return replace(inputs, warnings=(*inputs.warnings, *warnings))


def _inputs(loaded: LoadedConfig, plan: Plan, output_dir: Path | None, resume: Path | None, kind: str) -> Inputs:
    config, source = loaded.config, loaded.source
    refuse_unavailable(config, source)
    start = start_file(config, resume)
    folder = output_dir or run_folder(loaded)
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder}: is no folder. Give another --output-dir.")
    state = read_state(folder) if (folder / JOURNAL).is_file() else State()
    if state.created and kind == "optimize":
        refuse_other_settings(folder, state, config, plan, kind)
        refuse_other_start(folder, state, str(start or ""))
    train, valid = _datasets(config, plan)
    _check_sets(config)
    annotations, unseen = _annotations(folder, state, train, valid)
    if state.champion and not state.finished:
        detections_on(valid, champion_detections(folder, state))  # its images must be today's, or nothing can be judged
    resumed_epoch = 0
    if start is not None and not (state.created and kind == "optimize"):
        resumed_epoch = _resumed_epoch(start, train, config)
    origin = Origin(str(start or ""), resumed_epoch, annotations)
    warnings = tuple(keys_without_effect(loaded, len(train.class_names)))
    return Inputs(config, source, plan, valid, folder, origin, warnings, unseen)


def _check_sets(config: Config) -> None:
    for name, where in config.evaluation.sets.items():
        file = filled_path(f"evaluation.sets.{name}", where) / ANNOTATION_FILE
        if not file.is_file():
            raise ConfigError(f"evaluation.sets.{name}: no {ANNOTATION_FILE} in {file.parent}. Correct the path.")


def _annotations(
    folder: Path, state: State, train: Dataset, valid: Dataset
) -> tuple[dict[str, str], tuple[Dataset, ...]]:
    """What tells both datasets from changed ones (annotations, images), and those that are new to the run folder."""
    datasets = {"train": train, "valid": valid}
    files = {split: dataset.root / ANNOTATION_FILE for split, dataset in datasets.items()}
    now = {split: sha256_of(file) for split, file in files.items()}
    for split, dataset in datasets.items():
        files[f"{split} images"] = dataset.root
        now[f"{split} images"] = fingerprint_of([image.path for image in dataset.images])
    if state.created:
        refuse_other_annotations(folder, state, now, files)
    known = {sha256 for run in state.runs for sha256 in run.annotations.values()}
    return now, tuple(dataset for split, dataset in datasets.items() if now[split] not in known)


def _decode_all(dataset: Dataset) -> None:
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda entry: decode(entry).nbytes, dataset.images):
            pass


def run_folder(loaded: LoadedConfig) -> Path:
    """Where a configuration's run lies unless the command line says otherwise."""
    config = loaded.config
    return Path(config.output.output_dir or config.checkpoint.save_dir or f"runs/{Path(loaded.source).stem}")


def _datasets(config: Config, plan: Plan) -> tuple[Dataset, Dataset]:
    train, valid = read_splits(config)
    for dataset in (train, valid):
        if not any(len(truth) for truth in dataset.truths):
            raise DatasetError(f"{dataset.root}: no object is annotated. Add annotations, or name another category.")
    known = metric_definitions(config.evaluation.max_dets)
    for metric in (plan.target.metric, plan.guard.metric):
        if metric not in known:
            raise ConfigError(f"strategy: unknown metric {metric!r}; known are {', '.join(known)}.")
    if plan.target.metric == "map_small" and not any((truth.areas < SMALL_PX2).any() for truth in valid.truths):
        raise DatasetError(
            f"{valid.root}: no object is smaller than 32x32 px, so map_small is not defined. Set target.metric."
        )
    return train, valid


def _resumed_epoch(path: Path, train: Dataset, config: Config) -> int:
    from smallsight.training.start import epoch_of

    return epoch_of(path, train, config)


@contextlib.contextmanager
def _session(inputs: Inputs, *, quiet: bool) -> Iterator[tuple[Run, Console]]:
    """The run folder, held and journalled, with a terminal that follows it."""
    console = Console(stderr=quiet, highlight=False)
    _warn(inputs.warnings)
    for dataset in inputs.unseen:
        _decode_all(dataset)
    with (
        hold(inputs.folder),
        Journal(inputs.folder / JOURNAL) as journal,
        Terminal(console, inputs.plan.target.metric) as terminal,
    ):
        means = Means(
            train=ChildTrainer(live_writer(inputs.folder, terminal.progress)),
            compare=comparison(inputs),
            watcher=terminal,
            publish=lambda state: publish(inputs.folder, state),
        )
        run = Run(inputs.folder, journal, means)
        try:
            yield run, console
        except Interrupted:
            run.write("interrupted")
            publish(inputs.folder, run.state)
            raise


def _warn(warnings: Sequence[str]) -> None:
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
        return judge(
            side(candidates),
            side(champions),
            target=target,
            guard=guard,
            max_guard_drop=plan.guard.max_drop,
            confidence=plan.verdict.confidence,
        )

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
    return to_document(history, analysis, evidence)


def history_of(path: Path) -> History:
    """The history in a run folder or in a JSON file.

    Raises:
        HistoryError: the file can't be read.
        RunFolderError: the folder holds no run.
    """
    if (path / JOURNAL).is_file():
        return tell(path, read_state(path))
    if path.is_dir() and not (path / REPORT_FILE).is_file():
        raise RunFolderError(
            f"{path}: neither {JOURNAL} nor {REPORT_FILE} is in it, so no run. Give a run folder or a JSON file."
        )
    return read_history(path / REPORT_FILE if path.is_dir() else path)


def show_report(path: Path, *, as_json: bool, html: Path | None = None) -> None:
    """Print the report on a run or a recorded history; a run's files are written anew.

    Args:
        html: write the page there, too.
    """
    state = read_state(path) if (path / JOURNAL).is_file() else None
    history = history_of(path)
    analysis = analyse(history)
    evidence = examine(path, state) if state else None
    if html is not None:
        write_page(html, history, state, evidence)
    if as_json:
        print(json.dumps(to_document(history, analysis, evidence), indent=1))  # noqa: T201 - the command's output
        return
    own = write_everything(path, history, state, evidence) if state is not None and os.access(path, os.W_OK) else None
    console = Console(highlight=False)
    print_summary(console, history, analysis, own or html, evidence)
    if own is not None and html is not None:
        console.print(f"Report: {visible(str(html))}", markup=False, soft_wrap=True)


def compare_runs(one: Path, other: Path, *, as_json: bool) -> str:
    """Two runs, or recorded histories, side by side as text or JSON.

    Raises:
        HistoryError, RunFolderError: see `history_of`.
    """
    states = [read_state(path) if (path / JOURNAL).is_file() else None for path in (one, other)]
    return comparison_of((history_of(one), states[0]), (history_of(other), states[1]), as_json=as_json)


def describe_plan(
    config_path: Path,
    strategy_path: Path | None,
    overrides: Sequence[str],
    output_dir: Path | None,
    resume: Path | None,
    budget_s: float | None,
    *,
    as_json: bool,
) -> str:
    """The plan as text or JSON: phases, changes, conditions, expected gains and shares of the budget.

    Raises:
        InputError: what a run would refuse before it trains; only that no image is looked into.
    """
    inputs = _strategy_inputs(config_path, strategy_path, overrides, output_dir, resume)
    plan = inputs.plan
    _refuse_missing_device(inputs.config.training)
    _warn(inputs.warnings)
    rows = plan_as_rows(plan, inputs.config, resumes=bool(inputs.origin.resume), budget_s=budget_s)
    return json.dumps({"plan": plan.to_dict(), "phases": rows}, indent=1) if as_json else plan_as_text(plan, rows)


def _refuse_missing_device(training: Training) -> None:
    """In a run its training process finds out, because torch is not loaded here; nor is it where any device will do."""
    if training.device not in ("auto", "cpu") or training.devices > 1:
        from smallsight.training.device import resolve_device
        from smallsight.training.processes import Processes

        resolve_device(training.device, Processes(0, training.processes, training.devices - 1))
