"""The command line: parse, wire, turn errors into messages and exit codes. Nothing imports this file."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from smallsight import __version__
from smallsight.attempts.signals import handle_stops, interrupt
from smallsight.cli.data import convert, doctor, split, synth
from smallsight.cli.messages import errors_as_messages, say
from smallsight.cli.options import AsJson, Html, Weights, no_folder, output_numbers
from smallsight.commands.background import Background, go_on_alone, in_words
from smallsight.commands.budget import seconds_of
from smallsight.errors import EXIT_DONE, ConfigError

__all__ = ["app", "errors_as_messages", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its tables cut the names of options in narrow terminals
    help="Lifts the small-object AP of a detector, unattended, and says whether the lift would show on other images "
    "like these.",
    epilog="Exit codes: 0 done, 1 the run failed, 2 the input is wrong, 3 interrupted and resumable.",
)
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="For example training.epochs=20.")]
ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file that describes data, detector and training.")]
OutputDir = Annotated[Path | None, typer.Option("--output-dir", help="Run folder; an interrupted run in it goes on.")]
Resume = Annotated[Path | None, typer.Option("--resume", help="Checkpoint to start from.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Go on in the background once the run has begun; the terminal may be closed.")
]

DRY_RUN_HELP = (
    "Check the input, print the plan with risks, time and memory (measured for a minute at most) and the smallest gain "
    "that the validation set can show, and stop. Nothing is written."
)

for command in (synth, convert, split, doctor):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"smallsight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of `smallsight` itself, given before a command."""


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    output_dir: OutputDir = None,
    resume: Resume = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Run a single phase: the configuration as it stands."""
    alone = _alone(as_json) if detach else None
    from smallsight.commands.train import train_one_phase

    _finish(train_one_phase(config, overrides or [], output_dir, resume, quiet=as_json, background=alone), as_json)


@app.command()
def optimize(
    config: ConfigFile,
    strategy: Annotated[
        Path | None,
        typer.Option("--strategy", help="YAML file of phases, or the word field; small_objects.yaml by default."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="For example training.epochs=20, or strategy.stop_at=success."),
    ] = None,
    output_dir: OutputDir = None,
    resume: Resume = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Wall clock for the run: 90s, 20m or 8h.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=DRY_RUN_HELP)] = False,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole strategy, up to a champion and a report. Every phase is judged; what helps is kept."""
    seconds = None if budget is None else seconds_of(budget)
    alone = _alone(as_json) if detach and not dry_run else None
    from smallsight.commands.train import optimize as run

    if dry_run:
        from smallsight.commands.describe import describe_plan

        say(describe_plan(config, strategy, overrides or [], output_dir, resume, seconds, as_json=as_json))
        return
    found = run(config, strategy, overrides or [], output_dir, resume, seconds, quiet=as_json, background=alone)
    _finish(found, as_json)


@app.command()
def join(
    run: Annotated[Path, typer.Argument(help="Run folder, as the machine with the runner sees it.")],
    node: Annotated[int, typer.Option("--node", min=1, help="This machine's number, from 1; the runner's is 0.")],
) -> None:
    """Take part in a run from a further machine, until it has ended. Its training.num_nodes is above 1."""
    from smallsight.commands.join import join as take_part

    take_part(run, node, say)


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Any checkpoint that training can start from.")],
    data: Annotated[
        Path, typer.Argument(help="Folder with images and _annotations.coco.json, or the annotation file.")
    ],
    resolution: Annotated[int | None, typer.Option(help="Input size, px; the checkpoint's own by default.")] = None,
    max_dets: Annotated[int, typer.Option(help="Detections per image that count.")] = 100,
    centre_hit_px: Annotated[float, typer.Option(help="Largest distance of box centres that is a hit, px.")] = 4.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="FILE", callback=no_folder, help="Write the detections as COCO results."),
    ] = None,
    weights: Annotated[
        Weights,
        typer.Option("--weights", help="raw: as trained; average: their EMA; judged: the better ones."),
    ] = Weights.JUDGED,
    raw: Annotated[bool, typer.Option("--raw", hidden=True, help="As --weights raw.")] = False,
    class_outputs: Annotated[
        list[str] | None,
        typer.Option("--class-outputs", metavar="CLASS=N", help="Output of a foreign head; once per class."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a checkpoint on a COCO folder."""
    from smallsight.records import shown, to_json
    from smallsight.training.measure import measure

    measured = measure(
        checkpoint,
        data,
        resolution=resolution,
        max_dets=max_dets,
        centre_hit_px=centre_hit_px,
        weights="raw" if raw else weights.value,
        class_outputs=output_numbers(class_outputs) if class_outputs else None,
        device=device,
        results=results,
    )
    if as_json:
        typer.echo(json.dumps(to_json(measured), indent=1))
        return
    for note in measured.notes:
        say(f"Given checkpoint: {note}.")
    for note in measured.data_notes:
        say(note)
    for name, item in measured.metrics.items():
        interval = "" if math.isnan(item.low) else f"  [{item.low:.3f}, {item.high:.3f}]"
        typer.echo(f"{name:<14}{shown(item.value):>7}{interval}  n={item.n}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder, or a JSON file with a recorded history.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Of a recorded history: the configuration of its training.")
    ] = None,
    strategy: Annotated[
        Path | None, typer.Option("--strategy", help="With --config: the strategy to judge by.")
    ] = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Say what happened in a run and why, and what to do next. Its report.html is rewritten."""
    from smallsight.commands.report import show_report

    if strategy is not None and config is None:
        raise ConfigError("--strategy: needs --config, the configuration of the recorded epochs. Give it, too.")
    show_report(run, as_json=as_json, html=html, config=config, strategy=strategy)


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder, or a JSON file with a recorded history.")],
    run_b: Annotated[Path, typer.Argument(help="The run to compare with it, given in the same way.")],
    as_json: AsJson = False,
) -> None:
    """Compare two runs. Champions, their difference with its interval, settings, phases."""
    from smallsight.commands.report import compare_runs

    typer.echo(compare_runs(run_a, run_b, as_json=as_json))


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the run has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the state and the progress of a run in a few lines."""
    from rich.console import Console

    from smallsight.commands.live import LIVE_EVERY_S
    from smallsight.commands.status import as_lines
    from smallsight.commands.status import watch as show
    from smallsight.report.status import status_of

    if as_json:
        typer.echo(json.dumps(status_of(run), indent=1))
    elif watch:
        show(run, Console(highlight=False), LIVE_EVERY_S)
    else:
        lines = as_lines(status_of(run))
        width = max(len(name) for name, _ in lines) + 2
        for name, value in lines:
            say(f"{name:<{width}}{value}", indent=width)


def _finish(outcome: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(outcome, indent=1))


def _alone(as_json: bool) -> Background:
    """Continue in a background process. Once the run has begun, the calling process prints where it is, and ends."""
    alone = go_on_alone()
    if isinstance(alone, Background):
        return alone
    for line in [json.dumps(alone, indent=1)] if as_json else in_words(alone):
        typer.echo(line)
    raise typer.Exit


def main() -> NoReturn:
    """Entry point of `smallsight` and `python -m smallsight`."""
    handle_stops(interrupt)
    with errors_as_messages():
        try:
            app()
        except SystemExit as end:  # typer ends with it in any case
            if end.code:
                raise
    sys.exit(EXIT_DONE)
