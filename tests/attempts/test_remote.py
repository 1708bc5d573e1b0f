"""What a driver makes of what the nodes of a cluster tell. No Ray."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smallsight import __version__
from smallsight.attempts import workers
from smallsight.attempts.messages import AsksToGoOn, Failed, Note, content_of
from smallsight.attempts.on_node import Expected, OnNode, what_is_missing
from smallsight.attempts.remote import End, cause_of, paths_of, resources_of, room_for
from smallsight.commands.workers import read_workers
from smallsight.errors import EXIT_DONE, ConfigError
from training.frames import attempt_spec, tiny_settings

LOST = End(1, Failed("RuntimeError", "Connection closed by peer"))
FULL = End(-9, None)
WELL = End(EXIT_DONE, None)


@pytest.mark.parametrize(
    ("ends", "cause"), [([LOST, FULL], FULL), ([FULL, LOST], FULL), ([WELL, WELL], WELL), ([WELL, LOST], LOST)]
)
def test_who_names_a_cause_is_the_cause_and_not_who_lost_the_connection(ends: list[End], cause: End) -> None:
    assert cause_of(ends) is cause


@pytest.mark.parametrize(
    ("training", "cuda", "expected"),
    [
        ({}, False, {"CPU": 1.0, "GPU": 0.0}),
        ({"threads": 3}, False, {"CPU": 3.0, "GPU": 0.0}),
        ({}, True, {"CPU": 1.0, "GPU": 1.0}),
        ({"device": "cpu"}, True, {"CPU": 1.0, "GPU": 0.0}),
        ({"devices": 2, "resources": {"cpu": 4}}, True, {"CPU": 8.0, "GPU": 2.0}),
        ({"resources": {"gpu": 0}}, True, {"CPU": 1.0, "GPU": 0.0}),
    ],
)
def test_what_an_attempt_takes(
    tmp_path: Path, training: dict[str, Any], cuda: bool, expected: dict[str, float]
) -> None:
    assert resources_of(attempt_spec(tmp_path, {"training": training}), cuda) == expected


def test_how_many_attempts_a_cluster_has_room_for() -> None:
    nodes = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 3.0}, {"CPU": 1.0}]
    assert room_for({"CPU": 2.0, "GPU": 0.0}, nodes) == 5
    assert room_for({"CPU": 1.0, "GPU": 1.0}, nodes) == 2
    assert room_for({"CPU": 1.0, "GPU": 0.0}, nodes[1:], spread=2) == 2
    assert room_for({"CPU": 16.0, "GPU": 0.0}, nodes) == 0


@pytest.mark.parametrize(
    ("text", "value"), [(None, None), ("3", 3), ("auto", "auto"), ("ray://10.0.0.5:10001", "ray://10.0.0.5:10001")]
)
def test_workers_are_a_number_or_a_cluster(text: str | None, value: int | str | None) -> None:
    assert read_workers(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "many", "ray://", "http://10.0.0.5", "1.5", ""])
def test_other_workers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--workers: got .* expected a number from 1, auto, or ray://HOST:10001"):
        read_workers(text)


def test_a_node_says_what_it_does_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "marker").write_text("ours")
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("DATA", "data")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")

    def missing(**given: Any) -> list[str]:
        usual = {"folder": str(tmp_path), "marker": "marker", "content": "ours", "paths": ["$DATA"]}
        return what_is_missing(Expected(**{**usual, **given}))

    assert missing() == []
    assert missing(content="another's")[0].startswith(f"does not see the run folder {tmp_path}. Put it on storage")
    assert missing(paths=["data", "weights.pth"])[0].startswith("does not see weights.pth.")
    assert missing(folder="/nowhere")[0].startswith("does not see the working directory /nowhere")
    assert missing(version="0.0.1") == [f"has smallsight {__version__}, not 0.0.1. Install the same version there"]
    assert missing(authenticated=True) == ["asks for no token. Start Ray there with RAY_AUTH_MODE=token"]


def test_a_node_needs_the_data_and_the_start_of_each_attempt(tmp_path: Path) -> None:
    settings = {**tiny_settings(tmp_path / "data"), "evaluation": {"sets": {"night": {"path": "data/night"}}}}
    spec = attempt_spec(tmp_path, settings, start="warm", path="champion.pth")
    folders = [str(tmp_path / "data" / split) for split in ("train", "valid")]
    assert paths_of([spec, spec]) == [*folders, "data/night", "champion.pth"]


PLAYS = """\
import json, os, signal, sys, time
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
pipe, answers = os.fdopen(int(sys.argv[1]), "w"), os.fdopen(int(sys.argv[2]))
for content in {told}:
    print(json.dumps(content), file=pipe, flush=True)
{then}
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OnNode]:
    """A node on which an attempt has begun that tells something and then acts."""
    monkeypatch.chdir(tmp_path)

    def begin(then: str, *told: Any) -> OnNode:
        popen, code = workers.subprocess.Popen, PLAYS.format(told=[content_of(each) for each in told], then=then)
        monkeypatch.setattr(
            workers.subprocess,
            "Popen",
            lambda command, **given: popen([sys.executable, "-c", code, *command[4:]], **given),
        )
        spec = attempt_spec(tmp_path, tiny_settings(tmp_path))
        found = OnNode(str(tmp_path))
        found.start(str(spec.save()), 0, "", 0)
        return found

    return begin


def until_ended(node: OnNode, **asked: Any) -> tuple[list[Any], Any]:
    messages, answers = [], []
    while True:
        told = json.loads(node.exchange(answers, **asked))
        messages += told["messages"]
        answers = ["end" for content in told["messages"] if content["event"] == "go_on?"]
        if told["ended"] is not None:
            return messages, told["ended"]


def test_what_is_said_on_a_node_comes_to_the_driver_and_answers_come_back(node: Callable[..., OnNode]) -> None:
    then = f"print(json.dumps({{**{content_of(Note(''))!r}, 'text': answers.readline()}}), file=pipe)"
    messages, end = until_ended(node(then, Note("hello"), AsksToGoOn()))
    assert [content.get("text") for content in messages] == ["hello", None, "end\n"]
    assert end == {"code": 0, "failed": None, "killed_because": ""}


def test_a_stop_request_reaches_the_node(node: Callable[..., OnNode]) -> None:
    _, end = until_ended(node("while not stop: time.sleep(0.01)\nsys.exit(3)", Note("hello")), stop=True)
    assert end["code"] in (3, -15), "-15 where it comes before the process can hear it"


def test_an_attempt_is_killed_for_the_others(node: Callable[..., OnNode]) -> None:
    assert until_ended(node("time.sleep(3600)"), kill=True)[1]["code"] == -9


def test_a_wrong_interface_is_told_as_the_attempts_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = attempt_spec(tmp_path, tiny_settings(tmp_path, devices=2, interface="eth77"))
    node = OnNode(str(tmp_path))
    node.start(str(spec.save()), 0, "", 0)
    end = json.loads(node.exchange([]))["ended"]
    assert end["code"] == 2 and "training.interface: eth77 has no IPv4 address" in end["failed"]["message"]
    assert "eth77" in json.loads(node.open_door(json.dumps({"devices": 2, "interface": "eth77"})))["failed"]["message"]
