"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smallsight.errors import InputError

Pattern = Annotated[
    str | None, typer.Option(metavar="REGEX", help="Finds the match or clip in a file name (its first group).")
]


def no_folder(path: Path | None) -> Path | None:
    """A file to write, checked before the work whose outcome goes into it."""
    if path is not None and path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file to write. Give its name, too.")
    return path


Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", callback=no_folder, help="Write a page with pictures there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
