"""Standard output and error hold: a reader that leaves, a full disk, a closed descriptor, a missing character."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders import write_coco_folder
from smallsight.commands.streams import Steady, keep_output, reader_left, refuse_lost_output, steady_streams
from smallsight.errors import OutputError
from waiting import HANGS_S


class Full(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, "as asked")


NO_SPACE, NO_READER = 28, 32


def test_what_is_written_arrives() -> None:
    stream = io.StringIO()
    steady = Steady(stream)
    assert steady.write("Łódź") == 4 and stream.getvalue() == "Łódź" and steady.lost is None
    with pytest.raises(TypeError, match="expected text, got bytes"):
        steady.write(b"")  # type: ignore[arg-type]  # how click tells a stream of bytes


def test_a_write_never_fails_and_the_reason_is_kept() -> None:
    steady = Steady(Full(NO_SPACE))
    steady.write("one")
    steady.write("two")
    steady.flush()
    assert steady.lost is not None and steady.lost.errno == NO_SPACE and not steady.isatty()


@pytest.mark.parametrize(("number", "kept", "refused"), [(28, False, True), (28, True, False), (32, False, False)])
def test_text_that_is_lost_is_an_error_where_its_reader_has_not_left(
    monkeypatch: pytest.MonkeyPatch, number: int, kept: bool, refused: bool
) -> None:
    monkeypatch.setattr("sys.stdout", Full(number))
    with steady_streams() as (out, _):
        assert not reader_left()
        if kept:
            keep_output()
        sys.stdout.write("text")
        assert reader_left()
        if refused:
            with pytest.raises(OutputError, match="standard output: No space left on device"):
                refuse_lost_output(out)
        else:
            refuse_lost_output(out)


def test_streams_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", stream)
    with pytest.raises(SystemExit), steady_streams():
        sys.stdout.write("Łódź\n")
        raise SystemExit
    assert sys.stdout is stream and stream.errors == "strict"
    assert stream.buffer.getvalue() == rb"\u0141\xf3d\u017a" + b"\n"  # type: ignore[attr-defined]


def test_what_the_user_has_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="replace")
    monkeypatch.setattr("sys.stdout", stream)
    with steady_streams():
        sys.stdout.write("Łódź")
    assert stream.buffer.getvalue() == b"??d?"  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed, split in enumerate(("train", "valid")):
        write_coco_folder(folder / "ä" / split, 3, (64, 48), seed=seed)
    return folder


def run(folder: Path, arguments: str, redirected: str) -> tuple[int, str, str]:
    """A command with its output redirected as a shell does it."""
    command = f'"{sys.executable}" -m smallsight {arguments} {redirected}'
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=HANGS_S)
    return done.returncode, done.stdout, done.stderr


FULL = "Error: standard output: No space left on device. Make room, or write it elsewhere.\n"


@pytest.mark.parametrize(
    ("arguments", "redirected", "code", "err"),
    [
        ("convert ä/train out", ">&-", 0, ""),
        ("convert ä/train out", ">/dev/full", 1, FULL),
        ("convert ä/train out", ">/dev/full 2>&1", 1, ""),
        ("convert ä/train out", ">&- 2>&- <&-", 0, ""),
        ("convert ä/train out", '| true; exit "${PIPESTATUS[0]}"', 0, ""),
        ("convert ä/nothing out", "2>&-", 2, ""),
        ("--help", '| true; exit "${PIPESTATUS[0]}"', 0, ""),
        ("--help", ">/dev/full", 1, FULL),
        ("no-such-command", "2>/dev/full", 2, ""),
    ],
)
def test_a_command_ends_as_it_should_wherever_its_output_goes(
    data: Path, tmp_path: Path, arguments: str, redirected: str, code: int, err: str
) -> None:
    (tmp_path / "ä").symlink_to(data / "ä")
    assert run(tmp_path, arguments, redirected) == (code, "", err)
    if "ä/train" in arguments:
        assert len(list((tmp_path / "out").rglob("*.jpg"))) == 3, "its files are written"


def test_no_file_becomes_standard_output(tmp_path: Path) -> None:
    """Where that is closed, the next file to be opened would get its number, and what a library prints."""
    code = (
        "import sys; from smallsight.commands.streams import steady_streams\n"
        "with steady_streams(), open('file', 'w') as file: sys.exit(10 + file.fileno())"
    )
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" >&- 2>&- <&-', sys.executable, code], cwd=tmp_path, timeout=HANGS_S
    )
    assert done.returncode >= 13


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("convert Łódź/train Łódź", 2, "Error: Łódź: "),
        ("synth Łódź/new --images 10 --size 192x108", 0, "Łódź/new"),
        ("status Łódź", 2, "Error: Łódź: no journal.sqlite, so no run."),
        ("doctor Łódź --json", 0, r"\u0141\u00f3d\u017a"),
    ],
)
def test_an_encoding_that_lacks_a_character_ends_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, arguments: str, code: int, said: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    shutil.copytree(data / "ä", tmp_path / "Łódź")
    command = [sys.executable, "-m", "smallsight", *arguments.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=HANGS_S)
    assert done.returncode == code
    assert said.encode(encoding, "backslashreplace") in done.stdout + done.stderr
