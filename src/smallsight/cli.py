"""The command line: parse, wire, turn errors into messages and exit codes. Nothing imports this file."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from smallsight.errors import EXIT_FAILED, EXIT_USAGE, ConfigError, Interrupted, SmallsightError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Lifts the small-object AP of a detector, unattended, and knows whether the lift is real.",
    epilog="Exit codes: 0 done, 1 the run failed, 2 the input is wrong, 3 interrupted and resumable.",
)

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example training.epochs=20.")
]
ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file that describes data, detector and training.")]
OutputDir = Annotated[Path | None, typer.Option("--output-dir", help="Run folder; an interrupted run in it goes on.")]
Resume = Annotated[Path | None, typer.Option("--resume", help="Checkpoint to start from.")]
_WRONG_PATH = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write; train/, valid/ and test/ come into it.")],
    images: Annotated[int, typer.Option(help="Number of images in all three splits.")] = 400,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of a frame, px.")] = "640x360",
    seed: Annotated[int, typer.Option(help="Same seed, same frames.")] = 0,
    frames_per_clip: Annotated[int, typer.Option(help="Frames of the same scene in a row.")] = 1,
) -> None:
    """Render broadcast-like soccer frames with a small ball, as a COCO dataset."""
    from smallsight.data.synthetic import SynthOptions, write_dataset

    counts = write_dataset(out, SynthOptions(images, _size(size), seed, frames_per_clip))
    typer.echo(f"{out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()) + " images.")


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    output_dir: OutputDir = None,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Run a single phase: the configuration as it stands, from a checkpoint or from scratch."""
    from smallsight.session import train_one_phase

    _finish(train_one_phase(config, overrides or [], output_dir, resume, quiet=as_json), as_json)


@app.command()
def optimize(
    config: ConfigFile,
    strategy: Annotated[
        Path | None, typer.Option("--strategy", help="YAML file of phases; the mission's by default.")
    ] = None,
    overrides: Overrides = None,
    output_dir: OutputDir = None,
    resume: Resume = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Wall clock for the run: 90s, 20m or 8h.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole strategy: train, judge every phase, keep what helps, end with a champion and a report."""
    from smallsight.session import optimize as run

    seconds = None if budget is None else _seconds(budget)
    if dry_run:
        from smallsight.session import describe_plan

        typer.echo(describe_plan(config, strategy, overrides or [], resume, seconds, as_json=as_json))
        return
    _finish(run(config, strategy, overrides or [], output_dir, resume, seconds, quiet=as_json), as_json)


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Any checkpoint that smallsight wrote.")],
    data: Annotated[Path, typer.Argument(help="Folder with images and _annotations.coco.json.")],
    resolution: Annotated[int | None, typer.Option(help="Input size, px; the checkpoint's own by default.")] = None,
    max_dets: Annotated[int, typer.Option(help="Detections per image that count.")] = 100,
    raw: Annotated[bool, typer.Option("--raw", help="Use the trained weights instead of their average (EMA).")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a checkpoint on a COCO folder."""
    from smallsight.session import evaluate_checkpoint

    metrics = evaluate_checkpoint(checkpoint, data, resolution=resolution, max_dets=max_dets, raw=raw)
    if as_json:
        typer.echo(json.dumps(metrics, indent=1))
        return
    for name, item in metrics["metrics"].items():
        value = "n/a" if item["value"] is None else f"{item['value']:.3f}"
        interval = "" if item["low"] is None else f"  [{item['low']:.3f}, {item['high']:.3f}]"
        typer.echo(f"{name:<14}{value:>7}{interval}  n={item['n']}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder, or a JSON file with a recorded history.")],
    as_json: AsJson = False,
) -> None:
    """Say what happened in a run, what was decided and why, and what to do next."""
    from smallsight.session import show_report

    show_report(run, as_json=as_json)


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: AsJson = False,
) -> None:
    """Say in a few lines where a run stands."""
    from smallsight.session import status_of

    content = status_of(run)
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    for key, value in content.items():
        typer.echo(f"{key:<16}{'-' if value is None else value}")


def _finish(outcome: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(outcome, indent=1))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f"--size: got {text!r}, expected WxH in px, for example 640x360.")
    return int(width), int(height)


def _seconds(text: str) -> float:
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:].lower())
    try:
        value = float(text[:-1]) if unit else float("nan")
    except ValueError:
        value = float("nan")
    if unit is None or not 0 < value < 1e6:
        raise ConfigError(f"--budget: got {text!r}, expected a time such as 90s, 20m or 8h.")
    return value * unit


@contextlib.contextmanager
def errors_as_messages() -> Iterator[None]:
    """End the process with the right exit code and one message on standard error, never with a traceback of ours."""
    try:
        yield
    except Interrupted as error:
        typer.echo(f"Interrupted: {error}. Run the same command again to go on.", err=True)
        sys.exit(error.exit_code)
    except SmallsightError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        wrong_path = isinstance(error, _WRONG_PATH) or error.errno == errno.EROFS
        remedy = "Check the path and its permissions." if wrong_path else "Mend that, then run the same command again."
        typer.echo(f"Error: {error.filename or 'a file'}: {error.strerror or error}. {remedy}", err=True)
        sys.exit(EXIT_USAGE if wrong_path else EXIT_FAILED)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted("stopped by the user" if number == signal.SIGINT else "stopped by the system")


def main() -> None:
    """Entry point of `smallsight` and `python -m smallsight`."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    with errors_as_messages():
        app()
