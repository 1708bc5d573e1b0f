"""What `optimize` and `train` do: lock the run folder, train, judge, and bring the files of the run up to date."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from smallsight.attempts.messages import SignOfLife
from smallsight.attempts.spec import AttemptSpec
from smallsight.commands.background import Background
from smallsight.commands.disk import Disk, taken
from smallsight.commands.exam import is_due, name_exam, sit_exam
from smallsight.commands.inputs import Inputs, read_inputs, strategy_inputs
from smallsight.commands.judging import DetectionsJudge
from smallsight.commands.live import live_removed, live_writer
from smallsight.commands.run_log import run_log
from smallsight.commands.streams import keep_output
from smallsight.commands.terminal import Terminal
from smallsight.commands.workers import read_workers, trainer_of
from smallsight.config.load import load_config
from smallsight.data.coco import Dataset
from smallsight.data.frames import decode
from smallsight.errors import Interrupted, SmallsightError, TrainingError, visible
from smallsight.files import remove_leftovers, write_text_atomically
from smallsight.report.analysis import analyse
from smallsight.report.by_hand import next_commands
from smallsight.report.champion import examine
from smallsight.report.document import to_document, write_report
from smallsight.report.exam import NO_EXAM_YET
from smallsight.report.status import going_on, summary_of
from smallsight.report.story import tell
from smallsight.report.summary import print_summary
from smallsight.report.write import make_way, write_everything
from smallsight.run.folder import RunFolder, hold
from smallsight.run.foreign_files import keep_foreign
from smallsight.run.given import Call, Origin
from smallsight.run.journal import Journal
from smallsight.run.state import State
from smallsight.strategy.by_hand import ByHand
from smallsight.strategy.lineage import START
from smallsight.strategy.means import Means
from smallsight.strategy.plan import Plan
from smallsight.strategy.runner import Runner

AnyRun = TypeVar("AnyRun", bound=Runner)


def optimize(
    config_path: Path,
    strategy_path: Path | None,
    overrides: Sequence[str],
    output_dir: Path | None,
    resume: Path | None,
    budget_s: float | None,
    *,
    workers: str | None = None,
    quiet: bool = False,
    background: Background | None = None,
    words: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Run or continue a strategy; return the report as JSON values.

    Args:
        budget_s: wall-clock time for this call, s; None for no limit.
        workers: the value of `--workers`; see `read_workers`.
        quiet: write the progress to standard error, and nothing to standard output.
        background: of a command that continues in the background.
        words: the command line to write to the run's log; this process's own where None.
    Raises:
        SmallsightError: see `errors`.
    """
    places = read_workers(workers)
    inputs = strategy_inputs(config_path, strategy_path, overrides, output_dir, resume)
    with _session(inputs, Runner, places, quiet=quiet, background=background, words=words) as (run, terminal):
        run.begin(inputs.config, inputs.plan, "optimize", inputs.origin)
        _tell_exam(inputs, run, terminal)
        if run.state.finished:
            terminal.note(f"Nothing is left to {'train' if is_due(run.state, inputs.exam) else 'do'} in this run.")
        elif run.state.runs:
            run.means.watcher.note(going_on(run.state))
        run.optimize(inputs.config, inputs.plan, budget_s)
        return _conclude(inputs, run, terminal, quiet=quiet)


def train_one_phase(
    config_path: Path,
    overrides: Sequence[str],
    output_dir: Path | None,
    resume: Path | None,
    *,
    workers: str | None = None,
    quiet: bool = False,
    background: Background | None = None,
) -> dict[str, Any]:
    """Run or continue one phase as the configuration says; return the report as JSON values.

    Further calls with the same run folder add phases to its history.

    Args:
        workers: see `read_workers`.
    Raises:
        SmallsightError: see `errors`.
    """
    places = read_workers(workers)
    loaded, plan = load_config(config_path, overrides), Plan(name="as configured")
    inputs = read_inputs(loaded, plan, output_dir, resume, "train")
    name = "".join(c if c.isalnum() else "_" for c in config_path.stem.lower())
    with _session(inputs, ByHand, places, quiet=quiet, background=background) as (run, terminal):
        run.begin(inputs.config, plan, "train", Origin(), inputs.origin.resume)
        _tell_exam(inputs, run, terminal)
        if run.state.open_run is not None and run.state.open_run.name in (name, START):
            run.means.watcher.note(going_on(run.state))
        call = Call(_program(), str(config_path), str(inputs.folder), tuple(overrides))
        run.train_as_configured(name, inputs.config, plan, inputs.origin, call)
        return _conclude(inputs, run, terminal, quiet=quiet)


def _program() -> tuple[str, ...]:
    """The first words of this command line: the command's name, `python -m smallsight`, or a script."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return ("python", "-m", "smallsight", "train")
    return ("python", str(called)) if called.suffix == ".py" else ("smallsight", "train")


@contextlib.contextmanager
def _session(
    inputs: Inputs,
    kind: type[AnyRun],
    workers: int | str | None,
    *,
    quiet: bool,
    background: Background | None,
    words: Sequence[str] | None = None,
) -> Iterator[tuple[AnyRun, Terminal]]:
    """Lock the run folder, open its journal and log, show the run on a terminal. Yields the runner and the terminal."""
    console = Console(stderr=quiet, highlight=False, force_terminal=False if background else None)
    show_warnings(inputs.warnings)
    _look_into(inputs)
    with (
        hold(inputs.folder),
        run_log(inputs.folder, words or ["smallsight", *sys.argv[1:]]) as log,
        Journal(RunFolder(inputs.folder).journal) as journal,
        Terminal(console, inputs.plan.target.metric, log) as terminal,
    ):
        remove_leftovers(inputs.folder, ".*.*.tmp")  # of a process that was stopped while it wrote
        for line in keep_foreign(inputs.folder):
            terminal.note(line)
        keep_output()
        for warning in inputs.warnings:
            log.line(f"Warning: {warning}")
        strategy = inputs.plan if inputs.plan.phases else None
        disk = Disk(inputs.folder, inputs.config, strategy, lambda: run.state, terminal.note)

        def progress(spec: AttemptSpec, message: SignOfLife) -> None:
            terminal.progress(spec, message)
            if background is not None:
                background.begun(inputs.folder, log.path)

        def published(state: State) -> None:
            publish(inputs.folder, state, say=terminal.note)
            disk.prune(state)

        means = Means(
            train=disk.watched(live_removed(trainer_of(workers, live_writer(inputs.folder, progress)))),
            judge=DetectionsJudge(inputs),
            watcher=terminal,
            publish=published,
        )
        run = kind(inputs.folder, journal, means)
        try:
            yield run, terminal
        except (Interrupted, TrainingError) as error:
            _break_off(inputs.folder, run, terminal, error)
            raise


def _tell_exam(inputs: Inputs, run: Runner, terminal: Terminal) -> None:
    """Write down which images the lift will be measured on; said where a run begins, or the exam is another one."""
    if name_exam(run, inputs.exam) or not run.state.runs:
        terminal.note(inputs.exam.in_words() if inputs.exam else NO_EXAM_YET)


def _break_off(folder: Path, run: Runner, terminal: Terminal, error: Interrupted | TrainingError) -> None:
    """Bring the files of a run up to date when it ends before its strategy does."""
    if isinstance(error, Interrupted):
        run.write("interrupted")
    publish(folder, run.state, running=False, say=terminal.note)
    if isinstance(error, TrainingError):
        for command in next_commands(folder, run.state, running=False):
            terminal.command(command.title, command.line)


def _look_into(inputs: Inputs) -> None:
    """Read all images that are new to the run folder.

    Raises:
        DatasetError: one can't be read; the exam shares frames with the other sets.
    """
    for dataset in inputs.unseen:
        _decode_all(dataset)
    if inputs.exam is not None:
        inputs.exam.refuse_leaks(images=True)


def _decode_all(dataset: Dataset) -> None:
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda entry: decode(entry).nbytes, dataset.images):
            pass


def show_warnings(warnings: Sequence[str]) -> None:
    console = Console(stderr=True, highlight=False)
    for warning in warnings:
        console.print(f"Warning: {visible(warning)}", soft_wrap=not console.is_terminal, markup=False)


def publish(folder: Path, state: State, *, running: bool = True, say: Callable[[str], None]) -> None:
    """Bring `status.json`, `metrics.csv` and the report up to date with the journal.

    An unexpected error while the report is made does not end the training. Its traceback is written to a file, and the
    report can be made again from the journal.

    Args:
        running: whether this process continues the run; where it does not, the HTML page is written, too.
        say: called with a line for each file of another tool that gets another name.
    """
    write_text_atomically(RunFolder(folder).status, json.dumps(summary_of(state), indent=1))
    try:
        if state.records:
            for line in make_way(folder, state):
                say(line)
            history = tell(folder, state, running=running)
            write_report(folder, history)
            if not running:
                write_everything(folder, history, state, examine(folder, state))
    except (SmallsightError, OSError):
        raise
    except Exception:
        write_text_atomically(RunFolder(folder).report_error, traceback.format_exc())


def _conclude(inputs: Inputs, run: Runner, terminal: Terminal, *, quiet: bool) -> dict[str, Any]:
    """Measure the exam, write everything, and say what was reached."""
    sit_exam(run, inputs.exam, inputs.config, terminal.note)
    folder, state = inputs.folder, run.state
    history, evidence = tell(folder, state, running=False), examine(folder, state, inputs.config.evaluation.sets)
    analysis, page = analyse(history), write_everything(folder, history, state, evidence)
    for console in terminal.consoles[quiet:]:
        print_summary(console, history, analysis, page, evidence)
    terminal.note(taken(folder, state).in_words())
    return to_document(history, analysis, evidence)
