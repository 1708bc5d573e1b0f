"""Readers that do what no reader may, so that the watchdog can be seen to notice."""

from __future__ import annotations

import os
import time
from pathlib import Path

from smallsight.errors import DatasetError


def reads(folder: Path) -> None:
    """Nothing is wrong."""


def refuses(folder: Path) -> None:
    raise DatasetError(f"{folder}: is empty. Give another.")


def raises(folder: Path) -> None:
    raise KeyError("images")


def hangs(folder: Path) -> None:
    time.sleep(3600)


def swells(folder: Path) -> None:
    bytearray(200 << 20)


def grows(folder: Path) -> None:
    """As much as it may."""
    bytearray(b"x") * (30 << 20)


def dies(folder: Path) -> None:
    os.abort()


READERS = {reader.__name__: reader for reader in (reads, refuses, raises, hangs, swells, grows, dies)}
