"""The command line: parse, wire, turn errors into messages and exit codes. Nothing imports this file."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn, TextIO

import typer

from smallsight.errors import EXIT_FAILED, EXIT_USAGE, ConfigError, InputError, Interrupted, SmallsightError, visible

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its tables cut the names of options in narrow terminals
    help="Lifts the small-object AP of a detector, unattended, and knows whether the lift is real.",
    epilog="Exit codes: 0 done, 1 the run failed, 2 the input is wrong, 3 interrupted and resumable.",
)

Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="For example training.epochs=20.")]
ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file that describes data, detector and training.")]
OutputDir = Annotated[Path | None, typer.Option("--output-dir", help="Run folder; an interrupted run in it goes on.")]
Resume = Annotated[Path | None, typer.Option("--resume", help="Checkpoint to start from.")]
Sources = Annotated[list[Path], typer.Argument(metavar="SOURCE", help="Folder, data.yaml or COCO file to read.")]
Images = Annotated[str, typer.Option("--images", metavar="MODE", help="link, copy, or resize:W (W px wide).")]
Pattern = Annotated[
    str | None, typer.Option(metavar="REGEX", help="Finds the match or clip in a file name (its first group).")
]


def _no_folder(path: Path | None) -> Path | None:
    """A file to write, checked before the work whose outcome goes into it."""
    if path is not None and path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file to write. Give its name, too.")
    return path


Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", callback=_no_folder, help="Write a page with pictures there.")
]
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
    """Render soccer frames with a small ball, as a COCO dataset."""
    from smallsight.data.synthetic import SynthOptions, write_dataset

    counts = write_dataset(out, SynthOptions(images, _size(size), seed, frames_per_clip))
    typer.echo(f"{out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()) + " images.")


@app.command()
def convert(
    sources: Sources,
    out: Annotated[Path, typer.Argument(help="Folder to write, new or empty.")],
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Keep this class; can be given again.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="OLD=NEW", help="Rename a class; can be given again; goes before --class."),
    ] = None,
    drop_empty: Annotated[
        bool, typer.Option("--drop-empty", help="Drop frames without objects; they are kept as negatives by default.")
    ] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Read several sources and write them as one.")] = False,
    images: Images = "link",
    source_format: Annotated[
        Literal["auto", "coco", "yolo", "voc"], typer.Option("--from", help="Format of the sources.")
    ] = "auto",
    to: Annotated[Literal["coco", "yolo"], typer.Option(help="Format to write.")] = "coco",
    voc_corners: Annotated[
        Literal["pixels", "edges"],
        typer.Option(help="VOC corners: first and last pixel from 1 (the standard), or edges from 0."),
    ] = "pixels",
) -> None:
    """Read YOLO, Pascal VOC or COCO, write COCO or YOLO. No input is changed."""
    from smallsight.data.convert import ConvertOptions
    from smallsight.data.convert import convert as run
    from smallsight.data.formats.pixels import parse_image_mode

    if len(sources) > 1 and not merge:
        raise ConfigError(f"{sources[1]}: a second source. Pass --merge to write {len(sources)} sources as one.")
    options = ConvertOptions(
        kind=source_format,
        to=to,
        class_names=tuple(classes or ()),
        rename=_renames(rename or []),
        keep_empty=not drop_empty,
        images=parse_image_mode(images),
        voc_corners=voc_corners,
    )
    for line in run(sources, out, options).lines():
        _say(line)


@app.command()
def split(
    data: Annotated[Path, typer.Argument(help="Folder with images and annotations; its own splits are put together.")],
    out: Annotated[Path, typer.Argument(help="Folder to write, new or empty; train/, valid/ and test/ come into it.")],
    shares: Annotated[str, typer.Option(metavar="A,B,C", help="Shares of train, valid and test.")] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option(help="Same seed, same splits.")] = 0,
    pattern: Pattern = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Key of the image entries that names the match or clip.")
    ] = None,
    images: Images = "link",
) -> None:
    """Split a set by match or clip, balanced by object size. No match or clip gets into two splits."""
    from smallsight.data.formats.pixels import parse_image_mode
    from smallsight.data.split import SplitOptions, parse_shares
    from smallsight.data.split import split as run

    options = SplitOptions(parse_shares(shares), seed, pattern, column, parse_image_mode(images))
    for line in run(data, out, options).lines():
        _say(line)


@app.command()
def doctor(
    data: Annotated[Path, typer.Argument(help="Folder with train/, valid/ and test/, or one COCO folder.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Detector, resolution and class to examine for.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="Input size, px; the configuration's by default.")] = None,
    html: Html = None,
    pattern: Pattern = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="A trained detector, to look for missing labels.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a dataset, and which resolution it needs."""
    from smallsight.config import Config, load_config
    from smallsight.data.doctor.examine import Options
    from smallsight.data.doctor.text import show

    predict = None
    if checkpoint is not None:
        from smallsight.training.measure import predictor

        predict = predictor(checkpoint)
    settings = Config() if config is None else load_config(config).config
    options = Options(settings, resolution, pattern=pattern, predict=predict)
    if not show(data, options, html, as_json=as_json).sound:
        raise typer.Exit(EXIT_USAGE)


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    output_dir: OutputDir = None,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Run a single phase: the configuration as it stands."""
    from smallsight.commands.train import train_one_phase

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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the input, print the plan and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole strategy, up to a champion and a report. Every phase is judged; what helps is kept."""
    from smallsight.commands.train import optimize as run

    seconds = None if budget is None else _seconds(budget)
    if dry_run:
        from smallsight.commands.describe import describe_plan

        _say(describe_plan(config, strategy, overrides or [], output_dir, resume, seconds, as_json=as_json))
        return
    _finish(run(config, strategy, overrides or [], output_dir, resume, seconds, quiet=as_json), as_json)


@app.command()
def join(
    run: Annotated[Path, typer.Argument(help="Run folder, as the machine with the runner sees it.")],
    node: Annotated[int, typer.Option("--node", min=1, help="This machine's number, from 1; the runner's is 0.")],
) -> None:
    """Take part in a run from a further machine, until it has ended. Its training.num_nodes is above 1."""
    from smallsight.joining import join as take_part

    take_part(run, node, _say)


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Any checkpoint that smallsight wrote.")],
    data: Annotated[Path, typer.Argument(help="Folder with images and _annotations.coco.json.")],
    resolution: Annotated[int | None, typer.Option(help="Input size, px; the checkpoint's own by default.")] = None,
    max_dets: Annotated[int, typer.Option(help="Detections per image that count.")] = 100,
    centre_hit_px: Annotated[float, typer.Option(help="Distance of two centres that still is a hit, px.")] = 4.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="FILE", callback=_no_folder, help="Write the detections as COCO results."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Use the trained weights instead of their average (EMA).")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a checkpoint on a COCO folder."""
    from smallsight.training.measure import measure

    metrics = measure(
        checkpoint,
        data,
        resolution=resolution,
        max_dets=max_dets,
        centre_hit_px=centre_hit_px,
        raw=raw,
        device=device,
        results=results,
    )
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
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Say what happened in a run and why, and what to do next. Its report.html is written anew."""
    from smallsight.commands.report import show_report

    show_report(run, as_json=as_json, html=html)


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder, or a JSON file with a recorded history.")],
    run_b: Annotated[Path, typer.Argument(help="The one to set against it.")],
    as_json: AsJson = False,
) -> None:
    """Set two runs side by side. Champions, the difference with its interval, settings, phases."""
    from smallsight.commands.report import compare_runs

    typer.echo(compare_runs(run_a, run_b, as_json=as_json))


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the run has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say in a few lines where a run stands."""
    from rich.console import Console

    from smallsight import status as found

    if as_json:
        typer.echo(json.dumps(found.status_of(run), indent=1))
    elif watch:
        found.watch(run, Console(highlight=False), found.LIVE_EVERY_S)
    else:
        lines = found.as_lines(found.status_of(run))
        width = max(len(name) for name, _ in lines) + 2
        for name, value in lines:
            _say(f"{name:<{width}}{value}", indent=width)


def _say(text: str, *, indent: int = 4, err: bool = False) -> None:
    """Text for people, line by line; control characters in it come from data.

    In a terminal it is broken between words, with what follows indented; elsewhere a line stays one, to be searched.
    """
    fold = textwrap.TextWrapper(
        _width(sys.stderr if err else sys.stdout),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in text.split("\n"):
        typer.echo(fold.fill(visible(line)), err=err)


def _width(stream: TextIO) -> int:
    """Columns of a terminal; no limit for anything else."""
    return shutil.get_terminal_size().columns if stream.isatty() else sys.maxsize


def _finish(outcome: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(outcome, indent=1))


def _renames(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not (old and equals and new):
            raise ConfigError(f"--rename: got {text!r}, expected OLD=NEW, for example sports_ball=ball.")
        pairs[old] = new
    return pairs


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
        _say(f"Interrupted: {error}. Run the same command again to go on.", err=True)
        sys.exit(error.exit_code)
    except SmallsightError as error:
        _say(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        wrong_path = isinstance(error, _WRONG_PATH) or error.errno == errno.EROFS
        remedy = "Check the path and its permissions." if wrong_path else "Mend that, then run the same command again."
        _say(f"Error: {error.filename or 'a file'}: {error.strerror or error}. {remedy}", err=True)
        sys.exit(EXIT_USAGE if wrong_path else EXIT_FAILED)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted("stopped by the user" if number == signal.SIGINT else "stopped by the system")


def main() -> None:
    """Entry point of `smallsight` and `python -m smallsight`."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    with errors_as_messages():
        app()
