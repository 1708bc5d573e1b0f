"""What the commands do: read the input, check it whole, then act in the run folder.

No torch here, except where a checkpoint is read.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.console import Console

from smallsight.config import Config, LoadedConfig, load_config, refuse_unavailable, start_file
from smallsight.data.coco import ANNOTATION_FILE, Dataset
from smallsight.data.frames import decode
from smallsight.data.splits import read_splits
from smallsight.errors import ConfigError, DatasetError, Interrupted, RunFolderError
from smallsight.evaluation.ap import evaluate, metric_definitions
from smallsight.evaluation.detections_file import load_detections
from smallsight.evaluation.verdict import judge
from smallsight.files import sha256_of, write_text_atomically
from smallsight.records import Detections, Verdict
from smallsight.report.analysis import analyse
from smallsight.report.document import REPORT_FILE, to_document, write_report
from smallsight.report.history import History, read_history
from smallsight.report.story import tell
from smallsight.report.summary import print_summary
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
from smallsight.strategy.runner import Means, Run
from smallsight.strategy.state import State, fold
from smallsight.terminal import Terminal
from smallsight.training.child import ChildTrainer
from smallsight.unused_keys import keys_without_effect

JOURNAL = "journal.sqlite"
DEFAULT_STRATEGY = "small_objects.yaml"
SMALL_PX2 = 32.0**2


@dataclass(frozen=True)
class Inputs:
    """Everything a run needs, read and checked before its folder is touched."""

    config: Config
    source: str
    plan: Plan
    valid: Dataset
    folder: Path
    origin: Origin
    warnings: tuple[str, ...]


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
    loaded, plan = load_config(config_path, overrides), _plan(strategy_path)
    check_plan(plan, loaded.config, str(strategy_path or DEFAULT_STRATEGY))
    inputs = _inputs(loaded, plan, output_dir, resume, "optimize")
    with _session(inputs, quiet=quiet) as (run, console):
        run.begin(inputs.config, plan, "optimize", inputs.origin)
        if run.state.finished:
            console.print("Nothing is left to do in this run.", soft_wrap=True)
        state = run.optimize(inputs.config, plan, budget_s)
        return _conclude(inputs.folder, state, console, quiet=quiet)


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
        state = run.train_as_configured(name, inputs.config, plan, inputs.origin)
        return _conclude(inputs.folder, state, console, quiet=quiet)


def _plan(path: Path | None) -> Plan:
    if path is not None:
        return load_plan(path)
    with as_file(files("smallsight") / "strategies" / DEFAULT_STRATEGY) as default:
        return load_plan(default)


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
    annotations = _annotations(folder, state, train, valid)
    if state.champion and not state.finished:
        detections_on(valid, champion_detections(folder, state))  # its images must be today's, or nothing can be judged
    resumed_epoch = 0
    if start is not None and not (state.created and kind == "optimize"):
        resumed_epoch = _resumed_epoch(start, train)
    origin = Origin(str(start or ""), resumed_epoch, annotations)
    return Inputs(config, source, plan, valid, folder, origin, tuple(keys_without_effect(loaded)))


def _annotations(folder: Path, state: State, train: Dataset, valid: Dataset) -> dict[str, str]:
    """SHA-256 of both annotation files; the images of one that is new to the run folder are all looked into."""
    datasets = {"train": train, "valid": valid}
    files = {split: dataset.root / ANNOTATION_FILE for split, dataset in datasets.items()}
    now = {split: sha256_of(file) for split, file in files.items()}
    if state.created:
        refuse_other_annotations(folder, state, now, files)
    known = {sha256 for run in state.runs for sha256 in run.annotations.values()}
    for split, dataset in datasets.items():
        if now[split] not in known:
            _decode_all(dataset)
    return now


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
    known = metric_definitions()
    for metric in (plan.target.metric, plan.guard.metric):
        if metric not in known:
            raise ConfigError(f"strategy: unknown metric {metric!r}; known are {', '.join(known)}.")
    if plan.target.metric == "map_small" and not any((truth.areas < SMALL_PX2).any() for truth in valid.truths):
        raise DatasetError(
            f"{valid.root}: no object is smaller than 32x32 px, so map_small is not defined. Set target.metric."
        )
    return train, valid


def _resumed_epoch(path: Path, train: Dataset) -> int:
    from smallsight.training.checkpoint import check_classes, load_checkpoint

    content = load_checkpoint(path)
    check_classes(path, content, train.class_names)
    return int(content["epoch"])


@contextlib.contextmanager
def _session(inputs: Inputs, *, quiet: bool) -> Iterator[tuple[Run, Console]]:
    """The run folder, held and journalled, with a terminal that follows it."""
    console = Console(stderr=quiet, highlight=False)
    for warning in inputs.warnings:
        Console(stderr=True, highlight=False).print(f"Warning: {warning}", soft_wrap=True, markup=False)
    with (
        hold(inputs.folder),
        Journal(inputs.folder / JOURNAL) as journal,
        Terminal(console, inputs.plan.target.metric) as terminal,
    ):
        means = Means(
            train=ChildTrainer(terminal.progress),
            compare=lambda candidate, champion: compare(inputs, candidate, champion),
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


def compare(inputs: Inputs, candidate: Path, champion: Path) -> Verdict:
    """Judge two files of detections on the validation set.

    Raises:
        RunFolderError: they were made on other images.
    """
    settings = inputs.config.evaluation
    evaluations = [
        evaluate(
            inputs.valid.truths,
            detections_on(inputs.valid, path),
            len(inputs.valid.class_names),
            max_dets=settings.max_dets,
            centre_hit_px=settings.centre_hit_px,
        )
        for path in (candidate, champion)
    ]
    plan = inputs.plan
    return judge(
        evaluations[0],
        evaluations[1],
        target=plan.target.metric,
        guard=plan.guard.metric,
        max_guard_drop=plan.guard.max_drop,
        replicates=inputs.config.evaluation.replicates,
        confidence=plan.verdict.confidence,
    )


def detections_on(valid: Dataset, path: Path) -> list[Detections]:
    """The detections in a file, one entry for each image of the validation set.

    Raises:
        RunFolderError: the file can't be read, or was made on other images.
    """
    detections, ids = load_detections(path)
    if ids != [image.id for image in valid.images]:
        raise RunFolderError(f"{path}: made on other validation images than today's. Use another --output-dir.")
    return detections


def publish(folder: Path, state: State) -> None:
    """Bring `status.json`, `metrics.csv` and the report up to date with the journal."""
    write_text_atomically(folder / "status.json", json.dumps(summary_of(state), indent=1))
    if state.records:
        write_report(folder, tell(folder, state))


def summary_of(state: State) -> dict[str, Any]:
    """Where a run stands, in a few plain values."""
    metric = state.plan.get("target", {}).get("metric", "map_small")
    run = state.runs[-1] if state.runs else None
    return {
        "state": "finished" if state.done else "unfinished",
        "phase": run.name if run else None,
        "epoch": state.last_epoch,
        "metric": metric,
        "baseline": _value(state.baseline.value(metric)) if state.baseline else None,
        "champion": _value(state.target_value(metric)),
        "champion_epoch": state.champion.record.epoch if state.champion else None,
        "elapsed_s": round(state.elapsed_s, 1),
        "reason": state.finished or (run.decision.reason if run else None),
    }


def _value(value: float) -> float | None:
    return None if value != value else round(value, 4)


def read_state(folder: Path) -> State:
    """The state of a run from its journal.

    Raises:
        RunFolderError: no journal there, or a damaged one.
    """
    with Journal(folder / JOURNAL, read_only=True) as journal:
        return fold(journal.events())


def status_of(folder: Path) -> dict[str, Any]:
    """`summary_of` the run in a folder."""
    return summary_of(read_state(folder))


def _conclude(folder: Path, state: State, console: Console, *, quiet: bool) -> dict[str, Any]:
    history = tell(folder, state)
    analysis = analyse(history)
    if not quiet:
        print_summary(console, history, analysis, folder / REPORT_FILE)
    return to_document(history, analysis)


def history_of(path: Path) -> History:
    """The history in a run folder or in a JSON file.

    Raises:
        HistoryError: the file can't be read.
        RunFolderError: the folder holds no run.
    """
    if not path.is_dir():
        return read_history(path)
    if (path / JOURNAL).is_file():
        return tell(path, read_state(path))
    return read_history(path / REPORT_FILE)


def show_report(path: Path, *, as_json: bool) -> None:
    """Print the report on a run or a recorded history; a run's files are written anew."""
    history = history_of(path)
    analysis = analyse(history)
    if as_json:
        print(json.dumps(to_document(history, analysis), indent=1))  # noqa: T201 - the command's output
        return
    report = None
    if path.is_dir() and (path / JOURNAL).is_file() and os.access(path, os.W_OK):
        report = write_report(path, history)
    print_summary(Console(highlight=False), history, analysis, report)


def describe_plan(
    config_path: Path,
    strategy_path: Path | None,
    overrides: Sequence[str],
    resume: Path | None,
    budget_s: float | None,
    *,
    as_json: bool,
) -> str:
    """The plan as text or JSON: phases, changes, conditions, expected gains and shares of the budget.

    Raises:
        ConfigError: the configuration or the strategy is wrong.
    """
    config, plan = load_config(config_path, overrides).config, _plan(strategy_path)
    check_plan(plan, config, str(strategy_path or DEFAULT_STRATEGY))
    resumes = start_file(config, resume) is not None
    rows = plan_as_rows(plan, config, resumes=resumes, budget_s=budget_s)
    return json.dumps({"plan": plan.to_dict(), "phases": rows}, indent=1) if as_json else plan_as_text(plan, rows)
