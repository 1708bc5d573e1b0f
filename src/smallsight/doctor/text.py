"""Print an examination: findings, object sizes and recommendation; without colours where there is no terminal.

Text that comes from data is printed literally: markup in a name has no effect, control characters are made visible.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from smallsight.doctor.examine import Examination, Options, SplitSummary, examine
from smallsight.doctor.kinds import Group, count_of, grouped, line_of, place
from smallsight.doctor.network_sizes import LIMITS_PX, SizeRow
from smallsight.doctor.page import write_page
from smallsight.errors import InputError, visible

EXAMPLES = 3
"""Findings of a kind that are printed; the page and the JSON have more."""
_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def show(root: Path, options: Options, page: Path | None = None, *, as_json: bool = False) -> Examination:
    """Examine a dataset and print the result on standard output, with a progress bar on standard error.

    Args:
        root: one split, or a folder of splits.
        options: how to examine.
        page: HTML file to write as well.
        as_json: print JSON instead of text.
    Raises:
        DatasetError, ConfigError: see `examine`.
        InputError: the page can't be written.
    """
    with _progress(Console(stderr=True)) as report:
        examination = examine(root, options, report)
    if page is not None:
        try:
            write_page(page, examination)
        except OSError as error:
            raise InputError(f"{page}: can't be written ({error.strerror}). Give another file or make room.") from error
    if as_json:
        sys.stdout.write(json.dumps(examination.to_json(), indent=1) + "\n")
    else:
        print_examination(Console(), examination, page)
    return examination


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, removed at the end; no bar without a terminal."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Looking at images")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_examination(console: Console, examination: Examination, page: Path | None = None) -> None:
    """Print an examination; the layout fits 60 columns and 120.

    Args:
        console: colours are dropped where it is no terminal.
        page: path of the written page, named at the end.
    """
    console.print(_text(summary_line(examination), "bold"))
    for split in examination.splits:
        _indented(console, _text(split_line(split)))
    for group in grouped(examination.findings):
        _print_group(console, group)
    if examination.sizes:
        console.print(_heading(f"Object sizes, px ({sight_line(examination)})"))
        _indented(console, _size_table(examination.sizes, with_shares=console.width >= 60))
    if examination.recommendation is not None:
        console.print(_heading("Recommendation"))
        _indented(console, _text(examination.recommendation.sentence))
    console.print(_heading("Not seen"))
    for line in examination.not_seen:
        _indented(console, _text(line))
    if page is not None:
        console.print(_heading(f"Page: {page}"))


def summary_line(examination: Examination) -> str:
    """The result in one sentence."""
    counts = count_of(examination.findings)
    said = ", ".join(f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts.items() if name != "info")
    images = sum(split.images for split in examination.splits)
    return f"{visible(examination.root)}: {images:,} images, {said}."


def split_line(split: SplitSummary) -> str:
    """A split in figures."""
    objects = ", ".join(f"{count:,} {visible(name)}" for name, count in split.objects.items()) or "no class"
    groups = f", {split.groups:,} clips or matches" if split.groups else ""
    return f"{visible(split.name)}: {split.images:,} images{groups}; {objects}"


def sight_line(examination: Examination) -> str:
    """The detector and its input, in words."""
    sight = examination.sight
    side = "longer side" if sight.keeps_aspect else "square"
    return f"{sight.detector} at {sight.resolution} px, {side}"


def _print_group(console: Console, group: Group) -> None:
    line = _heading(group.severity, _STYLES[group.severity])
    count = f" ({len(group.findings):,})" if len(group.findings) > 1 else ""
    console.print(line.append_text(_text(f"  {group.title}{count}", "bold")))
    for item in group.findings[:EXAMPLES]:
        where = place(item.where)
        _indented(console, _text(f"{where}: {line_of(item)}" if where else line_of(item)))
    if len(group.findings) > EXAMPLES:
        _indented(console, _text(f"and {len(group.findings) - EXAMPLES:,} more"))
    _indented(console, _text(f"Do: {group.remedy}", "dim"))


def _size_table(rows: tuple[SizeRow, ...], *, with_shares: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("split", header_style="dim", overflow="fold")
    table.add_column("class", header_style="dim", overflow="fold")
    limits = LIMITS_PX if with_shares else ()
    for name in ("n", "image", "p10", "median", *(f"<{limit:g}" for limit in limits)):
        table.add_column(name, header_style="dim", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _text(row.split),
            _text(row.category),
            f"{row.n:,}",
            f"{row.median:.1f}",
            f"{row.network_p10:.1f}",
            f"{row.network_median:.1f}",
            *(f"{share:.0%}" for share in row.under[: len(limits)]),
        )
    return table


def _indented(console: Console, what: Text | Table) -> None:
    if console.is_terminal or isinstance(what, Table):
        console.print(Padding(what, (0, 0, 0, 2), expand=False))
    else:
        console.print(Text("  ").append_text(what), soft_wrap=True)


def _heading(title: str, style: str = "bold") -> Text:
    return Text("\n").append_text(_text(title, style))


def _text(words: str, style: str = "") -> Text:
    return Text(visible(words), style=style)
