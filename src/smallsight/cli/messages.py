"""What a command says: text that fits a terminal, and the one message that it ends with."""

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
