"""The commands about datasets: render, convert, split, examine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from smallsight.cli.messages import say
from smallsight.cli.options import AsJson, Html, Pattern
from smallsight.errors import EXIT_USAGE, ConfigError

Sources = Annotated[list[Path], typer.Argument(metavar="SOURCE", help="Folder, data.yaml or COCO file to read.")]
Images = Annotated[str, typer.Option("--images", metavar="MODE", help="link, copy, or resize:W (W px wide).")]

Classes = Annotated[
    list[str] | None, typer.Option("--class", metavar="NAME", help="Keep this class; can be given again.")
]
Renames = Annotated[
    list[str] | None,
    typer.Option("--rename", metavar="OLD=NEW", help="Rename a class; can be given again; goes before --class."),
]
VocCorners = Annotated[
    Literal["pixels", "edges"],
    typer.Option(help="VOC corners: first and last pixel from 1 (the standard), or edges from 0."),
]
Boxes = Annotated[
    Literal["xywh", "corners", "centres"] | None,
    typer.Option(help="Meaning of the four numbers of a box, where it differs from the format's."),
]
BoxFrame = Annotated[
    str | None,
    typer.Option(
        metavar="FRAME", help="Unit of boxes: image (px), shares (fractions of the image), or WxH (px at that size)."
    ),
]
Shifts = Annotated[
    list[str] | None, typer.Option(metavar="ID=N", help="Add N to every image_id or category_id of COCO annotations.")
]
Sizes = Annotated[
    Literal["check", "file", "scale"],
    typer.Option(
        help="Where annotations give another image size than the file has: check refuses, file takes the file's size, "
        "scale also scales the boxes to it."
    ),
]


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write; train/, valid/ and test/ are created in it.")],
    images: Annotated[int, typer.Option(help="Number of images in all three splits.")] = 400,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of a frame, px.")] = "640x360",
    seed: Annotated[int, typer.Option(help="Same seed, same frames.")] = 0,
    frames_per_clip: Annotated[int, typer.Option(help="Frames of the same scene in a row.")] = 1,
) -> None:
    """Render soccer frames with a small ball, as a COCO dataset."""
    from smallsight.synth.dataset import SynthOptions, write_dataset

    counts = write_dataset(out, SynthOptions(images, _size(size), seed, frames_per_clip))
    typer.echo(f"{out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()) + " images.")


def convert(
    sources: Sources,
    out: Annotated[Path, typer.Argument(help="Folder to write, new or empty.")],
    classes: Classes = None,
    rename: Renames = None,
    drop_empty: Annotated[
        bool, typer.Option("--drop-empty", help="Drop frames without objects; they are kept as negatives by default.")
    ] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Read several sources and write them as one.")] = False,
    images: Images = "link",
    source_format: Annotated[
        Literal["auto", "coco", "yolo", "voc"], typer.Option("--from", help="Format of the sources.")
    ] = "auto",
    to: Annotated[Literal["coco", "yolo"], typer.Option(help="Format to write.")] = "coco",
    voc_corners: VocCorners = "pixels",
    boxes: Boxes = None,
    box_frame: BoxFrame = None,
    shift: Shifts = None,
    sizes: Sizes = "check",
) -> None:
    """Read YOLO, Pascal VOC or COCO, write COCO or YOLO. No input is changed."""
    from smallsight.data.convert import ConvertOptions
    from smallsight.data.convert import convert as run
    from smallsight.data.formats.box_forms import parse_frame
    from smallsight.data.formats.id_shift import parse_shift
    from smallsight.data.formats.image_transfer import parse_image_mode
    from smallsight.data.sources import SourceReading

    if len(sources) > 1 and not merge:
        raise ConfigError(f"{sources[1]}: a second source. Pass --merge to write {len(sources)} sources as one.")
    frame_wh = None if box_frame is None else parse_frame(box_frame)
    options = ConvertOptions(
        kind=source_format,
        to=to,
        class_names=tuple(classes or ()),
        rename=_renames(rename or []),
        keep_empty=not drop_empty,
        images=parse_image_mode(images),
        reading=SourceReading(boxes, frame_wh, dict(map(parse_shift, shift or [])), sizes, voc_corners),
    )
    for line in run(sources, out, options).lines():
        say(line)


def split(
    data: Annotated[Path, typer.Argument(help="Folder with images and annotations; its own splits are merged first.")],
    out: Annotated[Path, typer.Argument(help="Folder to write, new or empty; for train/, valid/ and test/.")],
    shares: Annotated[str, typer.Option(metavar="A,B,C", help="Shares of train, valid and test.")] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option(help="Same seed, same splits.")] = 0,
    pattern: Pattern = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Key of the image entries that names the match or clip.")
    ] = None,
    images: Images = "link",
) -> None:
    """Split a set by match or clip, balanced by object size. No match or clip gets into two splits."""
    from smallsight.data.formats.image_transfer import parse_image_mode
    from smallsight.data.split import SplitOptions, parse_shares
    from smallsight.data.split import split as run

    options = SplitOptions(parse_shares(shares), seed, pattern, column, parse_image_mode(images))
    for line in run(data, out, options).lines():
        say(line)


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
    from smallsight.config.load import Config, load_config
    from smallsight.doctor.examine import Options
    from smallsight.doctor.text import show

    predict = None
    if checkpoint is not None:
        from smallsight.training.measure import predictor

        predict = predictor(checkpoint, resolution=resolution)
    settings = Config() if config is None else load_config(config).config
    options = Options(settings, resolution, pattern=pattern, predict=predict)
    if not show(data, options, html, as_json=as_json).sound:
        raise typer.Exit(EXIT_USAGE)


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
