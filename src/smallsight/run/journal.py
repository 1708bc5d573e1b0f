"""The journal: one SQLite file, an append-only table of events, each on the disk before the next step is taken."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from smallsight.errors import RunFolderError
from smallsight.run.events import Event, with_addresses

PATIENCE_S = 30
"""How long to wait for another process that holds the file."""
_SCHEMA = """
create table if not exists events (
    number integer primary key autoincrement,
    at real not null,
    elapsed_s real not null,
    kind text not null,
    content text not null
)
"""


class Journal:
    """The events of one run; one process writes, any number may read.

    Rollback journal and full synchronisation, because network disks are common and nothing may be lost.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        if read_only and not path.is_file():
            raise RunFolderError(f"{path.parent}: no {path.name}, so no run. Give the --output-dir of a run.")
        self._connection = _connect(path, read_only=read_only)
        try:
            events = self.events()
        except (RunFolderError, OSError):
            self.close()
            raise
        self._elapsed_before = events[-1].elapsed_s if events else 0.0
        self._began = time.monotonic()

    def append(self, kind: str, **content: Any) -> Event:
        """Write one event; it is on the disk when this returns, and it is returned as it will be read.

        Raises:
            RunFolderError: the journal can't be written.
            OSError: the disk is full.
        """
        text = json.dumps(content)
        at, elapsed_s = time.time(), self.elapsed_s
        try:
            cursor = self._connection.execute(
                "insert into events (at, elapsed_s, kind, content) values (?, ?, ?, ?)", (at, elapsed_s, kind, text)
            )
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error
        return Event(int(cursor.lastrowid or 0), at, elapsed_s, kind, json.loads(text))

    @property
    def elapsed_s(self) -> float:
        """Seconds of work on this run so far."""
        return self._elapsed_before + time.monotonic() - self._began

    def events(self) -> tuple[Event, ...]:
        """All events, in order, with their addresses.

        Raises:
            RunFolderError: the journal can't be read.
        """
        try:
            rows = self._connection.execute("select number, at, elapsed_s, kind, content from events order by number")
            read = (Event(number, at, elapsed, kind, json.loads(text)) for number, at, elapsed, kind, text in rows)
            return tuple(with_addresses(read))
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise _unusable(self.path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    # After a power cut, SQLite must write to undo half a transaction before anyone can read. So a reader opens the file
    # for reading alone only where it may do nothing else.
    writable = not read_only or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    mode = "ro" if not writable else "rw" if read_only else "rwc"
    try:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    try:
        if read_only:
            connection.execute("pragma query_only=on")
        else:
            connection.execute("pragma journal_mode=delete")
            connection.execute("pragma synchronous=full")
            connection.execute(_SCHEMA)
        _refuse_other_schema(connection)
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    return connection


def _refuse_other_schema(connection: sqlite3.Connection) -> None:
    """A view, a trigger or a column that is computed can run without end as soon as somebody reads the file."""
    found = connection.execute("select sql from sqlite_master where name not like 'sqlite_%'").fetchall()
    columns = [str(sql).partition("(")[2].split() for (sql,) in found]
    if columns not in ([], [_SCHEMA.partition("(")[2].split()]):
        raise sqlite3.DatabaseError("it is made otherwise than a journal is")


def _unusable(path: Path, error: Exception) -> RunFolderError | OSError:
    """What to raise: by the message, because Python 3.10 does not tell SQLite's error codes."""
    if "disk is full" in str(error):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    locked = "locked" in str(error)
    remedy = (
        "Another process holds it; wait for it or end it." if locked else "The file is damaged, or can't be written."
    )
    return RunFolderError(f"{path}: the journal can't be used ({error}). {remedy}")
