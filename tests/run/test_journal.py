"""The journal: what was written is there, in order, whatever the path, the clock and the last crash."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from smallsight.errors import RunFolderError
from smallsight.run.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_events_come_back_in_order(path: Path) -> None:
    with Journal(path) as journal:
        written = [journal.append("a", x=1, y=[1, None, "ü"]), journal.append("b")]
    with Journal(path) as journal:
        written.append(journal.append("a", nested={"k": 0.1}))
        assert list(journal.events()) == written
    assert [event.number for event in written] == [1, 2, 3]
    assert written[2].content == {"nested": {"k": 0.1}}


def test_an_event_is_on_the_disk_at_once(path: Path) -> None:
    with Journal(path) as journal:
        assert journal._connection.execute("pragma synchronous").fetchone() == (2,)
        assert journal._connection.execute("pragma journal_mode").fetchone() == ("delete",)
        journal.append("a")
        with Journal(path, read_only=True) as reader:
            assert [event.kind for event in reader.events()] == ["a"]
            journal.append("b")
            assert [event.kind for event in reader.events()] == ["a", "b"]


def test_readers_do_not_disturb_each_other_and_do_not_write(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("a")
    before = path.read_bytes()
    with Journal(path, read_only=True) as one, Journal(path, read_only=True) as two:
        assert one.events() == two.events()
        with pytest.raises(RunFolderError, match=r"journal\.sqlite: the journal can't be used"):
            one.append("b")
    assert path.read_bytes() == before


def test_elapsed_time_counts_on_and_never_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(monotonic=lambda: now.ticks, time=lambda: now.wall, ticks=100.0, wall=5000.0)
    monkeypatch.setattr("smallsight.run.journal.time", now)
    with Journal(path) as journal:
        journal.append("a")
        now.ticks += 7
        now.wall -= 1000
        journal.append("b")
    now.ticks = 3.0  # the machine was started anew
    with Journal(path) as journal:
        now.ticks += 2
        journal.append("c")
        assert [event.elapsed_s for event in journal.events()] == [0.0, 7.0, 9.0]


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b", "a b", "ü", "mode=ro&x", "b'\""])
@pytest.mark.parametrize("read_only", [False, True])
def test_any_path(tmp_path: Path, name: str, read_only: bool) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with Journal(folder / "journal.sqlite") as journal:
        journal.append("a")
    with Journal(folder / "journal.sqlite", read_only=read_only) as journal:
        assert len(journal.events()) == 1
    assert [entry.name for entry in folder.iterdir()] == ["journal.sqlite"]


def test_a_path_with_two_slashes(path: Path) -> None:
    with Journal(Path(f"/{path}")) as journal:
        journal.append("a")
    assert path.is_file()


def test_no_journal_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no journal\.sqlite, so no run"):
        Journal(tmp_path / "journal.sqlite", read_only=True)
    assert not list(tmp_path.iterdir())


def _torn(path: Path) -> None:
    with Journal(path) as journal:
        for _ in range(50):
            journal.append("a", text="x" * 500)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _scribbled(path: Path) -> None:
    with Journal(path) as journal:
        for _ in range(50):
            journal.append("a", text="x" * 500)
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(bytes(content))


def _other_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table events (what text)")
    connection.close()


def _no_json(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("a")
        journal._connection.execute("update events set content = '{'")


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_text("no database " * 100), _torn, _scribbled, _other_table, _no_json]
)
def test_a_damaged_journal_is_refused(path: Path, spoil: object, read_only: bool) -> None:
    assert callable(spoil)
    spoil(path)
    with pytest.raises(RunFolderError, match=r"journal\.sqlite: the journal can't be used \(.+\)"):
        Journal(path, read_only=read_only)


def test_a_file_of_no_bytes_is_no_run_to_read_and_a_new_one_to_write(path: Path) -> None:
    path.touch()
    with pytest.raises(RunFolderError, match="the journal can't be used"):
        Journal(path, read_only=True)
    with Journal(path) as journal:
        assert journal.events() == ()


def test_damage_that_appears_later_is_told_too(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("a")
        with sqlite3.connect(path) as other:
            other.execute("drop table events")
        other.close()
        with pytest.raises(RunFolderError, match="the journal can't be used"):
            journal.events()
        with pytest.raises(RunFolderError, match="the journal can't be used"):
            journal.append("b")


def test_a_journal_that_another_process_holds_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallsight.run.journal.PATIENCE_S", 0.1)
    with Journal(path) as journal:
        journal.append("a")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin exclusive")
            message = r"the journal can't be used \(database is locked\)\. Another process holds it; wait for it"
            with pytest.raises(RunFolderError, match=message):
                journal.append("b")
            with pytest.raises(RunFolderError, match=message):
                Journal(path)
        journal.append("c")
        assert [event.kind for event in journal.events()] == ["a", "c"]


def test_a_full_disk_is_told_and_loses_nothing(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("a")
        pages = journal._connection.execute("pragma page_count").fetchone()[0]
        journal._connection.execute(f"pragma max_page_count={pages}")
        with pytest.raises(OSError, match="No space left on device") as caught:
            journal.append("b", text="x" * 100_000)
        assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
        journal._connection.execute(f"pragma max_page_count={pages + 100}")
        journal.append("c")
        assert [event.kind for event in journal.events()] == ["a", "c"]


def test_a_reader_undoes_what_a_power_cut_left_half_written(path: Path, tmp_path: Path) -> None:
    """Else a run could never be continued: its state is read before it is written."""
    after = tmp_path / "after" / "journal.sqlite"
    after.parent.mkdir()
    with Journal(path) as journal:
        for number in range(20):
            journal.append("a", number=number, text="x" * 500)
        journal._connection.execute("pragma cache_size=1")
        journal._connection.execute("begin")
        journal._connection.execute("update events set kind = 'half'")
        for suffix in ("", "-journal"):
            shutil.copy(f"{path}{suffix}", f"{after}{suffix}")
        journal._connection.execute("rollback")
    with Journal(after, read_only=True) as reader:
        assert [event.kind for event in reader.events()] == ["a"] * 20


def test_a_folder_that_can_only_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        journal.append("a")
    monkeypatch.setattr("os.access", lambda *_: False)
    with Journal(path, read_only=True) as reader:
        assert len(reader.events()) == 1


def test_a_new_run_begins_at_zero(path: Path) -> None:
    before, began = time.time(), time.monotonic()
    with Journal(path) as journal:
        event = journal.append("a")
        assert 0 <= event.elapsed_s <= time.monotonic() - began and before <= event.at <= time.time()
