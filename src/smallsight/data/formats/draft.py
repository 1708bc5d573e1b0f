"""Write a folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from smallsight.errors import DatasetError
from smallsight.files import sync_folder


def check_output(out: Path, sources: Sequence[Path]) -> None:
    """Refuse an output folder that is in use.

    Raises:
        DatasetError: `out` is not empty, is no folder, is inside a source, or contains a source.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise DatasetError(f"{out}: the output is no folder; expected a new or an empty one. Name another.")
    if out.exists() and any(out.iterdir()):
        raise DatasetError(f"{out}: the output folder holds files; expected a new or an empty one. Name another.")
    refuse_overlap(out, sources, "the output")


def refuse_overlap(out: Path, sources: Sequence[Path], what: str) -> None:
    """Refuse an output folder that is inside a source or contains one.

    Raises:
        DatasetError: it is, or does; `what` names the folder in the message.
    """
    real = out.resolve()
    for source in sources:
        root = (source.parent if source.is_file() else source).resolve()
        if real.is_relative_to(root) or root.is_relative_to(real):
            raise DatasetError(f"{out}: {what} and {source} lie in each other. Name a folder outside of it.")


@contextlib.contextmanager
def drafted(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that is renamed to it when the block succeeds, and is removed otherwise.

    All files are synced to the disk before the rename, in one call; file by file would take minutes.

    Raises:
        DatasetError: the disk is full, or `out` can't be written or was filled meanwhile.
    """
    draft = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name[:100]}.", suffix=".tmp"))
        draft.chmod(0o755)
        yield draft
        os.sync()
        draft.replace(out)
    except OSError as error:
        raise DatasetError(
            f"{out}: can't be written ({error.strerror or error}); nothing was left behind. "
            "Free some space or name another folder, and run again."
        ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
    with contextlib.suppress(OSError):  # the result is in place, though some network disks refuse to sync a folder
        sync_folder(out.parent)
