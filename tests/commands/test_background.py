"""The terminal may go away: nobody reads, it is closed, the run goes on in the background. In real processes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import write_coco_folder
from smallsight.run.folder import is_running
from waiting import HANGS_S, until, until_gone

TESTS = Path(__file__).parents[1]
CONFIG = """\
training: {epochs: 2, resolution: 96}
evaluation: {replicates: 100}
dataset: {coco_train_path: data/train, coco_val_path: data/valid}
"""
STRATEGY = "phases: [{name: longer, epochs: 1}]\n"
OPTIMIZE = ("optimize", "--config", "run.yaml", "--strategy", "strategy.yaml", "--output-dir", "out")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for seed, split in enumerate(("train", "valid")):
        write_coco_folder(tmp_path / "data" / split, 3, (64, 48), seed=seed)
    (tmp_path / "run.yaml").write_text(CONFIG)
    (tmp_path / "strategy.yaml").write_text(STRATEGY)
    return tmp_path


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Starts the command with a stand-in for what trains, and with pipes to read its output from."""
    started: list[subprocess.Popen[str]] = []
    paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])

    def begin(*arguments: str, hang_up: Any = signal.SIG_DFL, **options: Any) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        given = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "text": True, **options}

        def prepare() -> None:
            signal.signal(signal.SIGHUP, hang_up)
            if os.isatty(0):
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [sys.executable, "-m", "stand_in", *arguments],
            cwd=project,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,
            preexec_fn=prepare,
            **given,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        with process:  # its pipes are closed, and it is collected
            continue


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=HANGS_S)
    return process.returncode, out, err


def state_of(run: Path) -> str:
    return str(json.loads((run / "status.json").read_text())["state"])


def in_first_epoch(run: Path) -> bool:
    return (run / "live.json").exists()


def test_a_run_goes_on_where_nobody_reads_it(project: Path, start: Start) -> None:
    """As with `| head -1`."""
    process = start(*OPTIMIZE)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("No exam: the lift will be measured on the images that also decide")
    process.stdout.close()
    (project / "go_on").touch()
    assert process.wait(timeout=HANGS_S) == 0
    assert process.stderr.read() == ""
    assert state_of(project / "out") == "finished" and (project / "out" / "report.html").is_file()
    log = (project / "out" / "run.log").read_text()
    assert "longer epoch 3" in log and "Report: out/report.html" in log and log.endswith("Ended: done\n")


@pytest.mark.parametrize("how", ["signal", "terminal"])
def test_a_hang_up_saves_and_the_same_command_goes_on(project: Path, start: Start, how: str) -> None:
    if how == "signal":
        process = start(*OPTIMIZE)
        until(lambda: in_first_epoch(project / "out"), while_true=lambda: process.poll() is None, what="a step")
        process.send_signal(signal.SIGHUP)
    else:
        ours, theirs = pty.openpty()
        process = start(*OPTIMIZE, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        until(lambda: in_first_epoch(project / "out"), while_true=lambda: process.poll() is None, what="a step")
        os.close(ours)  # the window is closed
    assert process.wait(timeout=HANGS_S) == 3
    log = (project / "out" / "run.log").read_text()
    assert log.endswith("  Interrupted: stopped where it stood. Run the same command again to go on.\n")
    assert state_of(project / "out") == "unfinished" and not is_running(project / "out")
    (project / "go_on").touch()
    code, out, err = finish(start(*OPTIMIZE))
    assert (code, err) == (0, "") and out.startswith("Going on: baseline, epoch 1 of 2\n")


def test_a_hang_up_while_nothing_trains_is_a_stop_as_well(project: Path, start: Start) -> None:
    """It waits for a recorded history, which comes from a pipe."""
    os.mkfifo(project / "pipe.json")
    process = start("report", "pipe.json")
    with (project / "pipe.json").open("w"):  # opens once the command reads
        process.send_signal(signal.SIGHUP)
        ended = finish(process)
    assert ended == (
        3,
        "",
        "Interrupted: stopped because its terminal was closed. Run the same command again to go on.\n",
    )


def test_a_hang_up_is_ignored_where_it_was_asked_to_be(project: Path, start: Start) -> None:
    """As under `nohup`."""
    process = start(*OPTIMIZE, hang_up=signal.SIG_IGN)
    until(lambda: in_first_epoch(project / "out"), while_true=lambda: process.poll() is None, what="a step")
    for pid in (process.pid, *_children(process.pid)):
        os.kill(pid, signal.SIGHUP)
    (project / "go_on").touch()
    assert finish(process)[0] == 0


def test_a_detached_run_goes_on_alone(project: Path, start: Start) -> None:
    code, out, err = finish(start(*OPTIMIZE, "--detach"))
    assert (code, err) == (0, "")
    first, second, *said = out.splitlines()
    assert first.startswith("No exam: ") and second.startswith("Next: No checkpoint was given"), "the start is seen"
    pid = int(said[0].removeprefix("The run goes on in the background, process ").removesuffix("."))
    assert said[1:] == [
        "Run folder: out",
        "Log: out/run.log",
        "Watch: smallsight status out --watch",
        f"Stop: kill {pid} (it saves its state; the same command continues the run)",
    ]
    assert is_running(project / "out") and os.getsid(pid) == pid
    assert [Path(f"/proc/{pid}/fd/{number}").readlink() for number in (1, 2)] == [project / "out" / "run.log"] * 2
    (project / "go_on").touch()
    until_gone([pid])
    assert state_of(project / "out") == "finished"
    log = (project / "out" / "run.log").read_text()
    assert log.count("longer epoch 3") == 1 and log.endswith("Ended: done\n")
    code, out, err = finish(start(*OPTIMIZE, "--detach"))
    assert (code, err) == (0, "") and out.startswith("Nothing is left to do in this run.") and "background" not in out


def test_a_detached_run_is_stopped_as_it_says(project: Path, start: Start) -> None:
    code, out, _ = finish(start("train", "--config", "run.yaml", "--output-dir", "out", "--detach", "--json"))
    told = json.loads(out)
    assert code == 0 and (told["run_folder"], told["log"]) == ("out", "out/run.log")
    os.kill(told["pid"], signal.SIGTERM)
    until_gone([told["pid"]])
    assert state_of(project / "out") == "unfinished"
    assert "Interrupted: stopped where it stood." in (project / "out" / "run.log").read_text()


@pytest.mark.parametrize(
    ("file", "more", "code", "said"),
    [
        ("", "training.epoch=3", 2, "Error: training.epoch: unknown key. Did you mean epochs?\n"),
        ("crash", "training.epochs=2", 1, "Error: Phase baseline crashed again"),
    ],
)
def test_an_error_of_the_start_is_seen(project: Path, start: Start, file: str, more: str, code: int, said: str) -> None:
    if file:
        (project / file).touch()
    ended, out, err = finish(start(*OPTIMIZE, more, "--detach"))
    assert ended == code and said in err and "background" not in out and "Traceback" not in err


def test_a_stop_before_it_has_begun_stops_it(project: Path, start: Start) -> None:
    (project / "not_yet").touch()
    process = start(*OPTIMIZE, "--detach")
    until((project / "out" / "phases").exists, while_true=lambda: process.poll() is None, what="the first attempt")
    (alone,) = _children(process.pid)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 3 and "Interrupted: " in err
    until_gone([alone])
    assert state_of(project / "out") == "unfinished"


def test_a_dry_run_does_not_go_away(project: Path, start: Start) -> None:
    code, out, err = finish(start(*OPTIMIZE, "--detach", "--dry-run"))
    assert (code, err) == (0, "") and "- longer: 1 epoch" in out and not (project / "out").exists()


@pytest.mark.parametrize("where", ["stdout", "stderr"])
def test_a_run_whose_output_goes_nowhere_is_done(project: Path, start: Start, where: str) -> None:
    (project / "go_on").touch()
    with Path("/dev/full").open("w") as full:
        process = start(*OPTIMIZE, **{where: full})
        assert finish(process)[0] == 0
    assert "longer epoch 3" in (project / "out" / "run.log").read_text()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_name_that_the_encoding_lacks_ends_nothing(
    project: Path, start: Start, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    (project / "go_on").touch()
    name = "Łódź"
    process = start(*OPTIMIZE[:-1], name, text=False)
    out, err = process.communicate(timeout=HANGS_S)
    assert (process.returncode, err) == (0, b"")
    expected = f"Report: {name}/report.html".encode(encoding, "backslashreplace")
    assert expected in out.splitlines()
    assert f"Report: {name}/report.html" in (project / name / "run.log").read_text(encoding="utf-8")


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
