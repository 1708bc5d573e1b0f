"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from smallsight.errors import ConfigError, InputError

Pattern = Annotated[
    str | None, typer.Option(metavar="REGEX", help="Finds the match or clip in a file name (its first group).")
]


def no_folder(path: Path | None) -> Path | None:
    """Check the path of an output file before any work starts.

    Raises:
        InputError: it is a folder.
    """
    if path is not None and path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file to write. Give its name, too.")
    return path


Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", callback=no_folder, help="Write a page with pictures there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class Weights(str, Enum):
    """Which weights of a checkpoint to use: as trained, their EMA, or those that gave the checkpoint's figures."""

    JUDGED = "judged"
    AVERAGE = "average"
    RAW = "raw"


def output_numbers(texts: Sequence[str]) -> dict[str, int]:
    """Parse `CLASS=N` texts: the output of the class head, from 0, by class name.

    Raises:
        ConfigError: a text has another form.
    """
    found = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not (name and equals and number.isdigit()):
            raise ConfigError(f"--class-outputs: got {text!r}, expected CLASS=N, for example ball=1.")
        found[name] = int(number)
    return found
