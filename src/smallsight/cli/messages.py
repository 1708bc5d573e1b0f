"""Print text for users, wrapped to the terminal; turn an error into one message and an exit code."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TextIO

import typer

from smallsight.commands.streams import refuse_lost_output, steady_streams
from smallsight.errors import SmallsightError, as_message, visible


def say(text: str, *, indent: int = 4, err: bool = False) -> None:
    """Print text for people; control characters, which may come from data, are shown as escapes.

    A terminal gets lines wrapped between words, with continuation lines indented by `indent` spaces. Elsewhere lines
    are not wrapped, so that they can be searched.
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


@contextlib.contextmanager
def errors_as_messages() -> Iterator[None]:
    """End the process with the right exit code and one message on standard error, never with a traceback of ours."""
    with steady_streams() as (out, _):
        try:
            yield
            refuse_lost_output(out)
        except (SmallsightError, OSError) as error:
            message, code = as_message(error)
            say(message, err=True)
            sys.exit(code)
