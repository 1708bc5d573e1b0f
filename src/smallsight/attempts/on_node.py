"""What is done on a node of a cluster: look at what it sees, and carry out an attempt for a driver elsewhere. No torch.

The driver asks again and again (`OnNode.exchange`), and hears what the attempt's processes have said since. Messages
travel as JSON values.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smallsight import __version__
from smallsight.attempts.messages import Failed, content_of
from smallsight.attempts.rendezvous import Rendezvous, interface_of, open_door
from smallsight.attempts.spec import AttemptSpec
from smallsight.attempts.workers import GRACE_S, Workers, wait_for
from smallsight.errors import ConfigError, SmallsightError

LISTEN_S = 0.5
"""How long a driver that asks waits for something to be said."""
NEVER_S = 1e9
"""Whether a training hangs is for the leader's node to tell: the others are silent while the leader judges."""
AUTH_MODE = "RAY_AUTH_MODE"


@dataclass(frozen=True)
class Expected:
    """What a node has to see.

    Attributes:
        folder: the working directory of the driver.
        marker, content: a file in the run folder, and what the driver wrote into it.
        paths: files and folders with data and weights, as the configuration names them.
        version: of smallsight.
        authenticated: whether the node has to ask for a token.
    """

    folder: str
    marker: str
    content: str
    paths: Sequence[str]
    version: str = __version__
    authenticated: bool = False


def what_is_missing(expected: Expected) -> list[str]:
    """What this machine does not see, as the ends of sentences that begin with its name."""
    missing: list[str] = []
    if expected.version != __version__:
        missing.append(f"has smallsight {__version__}, not {expected.version}. Install the same version there")
    if expected.authenticated and os.environ.get(AUTH_MODE) != "token":
        missing.append(f"asks for no token. Start Ray there with {AUTH_MODE}=token")
    shared = "Put it on storage that all nodes share, under the same path"
    if not Path(expected.folder).is_dir():
        return [*missing, f"does not see the working directory {expected.folder}. {shared}"]
    marker = Path(expected.folder, expected.marker)
    if not marker.is_file() or marker.read_text() != expected.content:
        missing.append(f"does not see the run folder {marker.parent}. {shared}")
    for path in expected.paths:
        there = Path(expected.folder, os.path.expanduser(os.path.expandvars(path)))  # noqa: PTH111 - before it is a path
        if not there.exists():
            missing.append(f"does not see {path}. {shared}")
    return missing


class OnNode:
    """An attempt's processes on one node.

    Args:
        folder: the working directory of the driver.
    """

    def __init__(self, folder: str) -> None:
        os.chdir(folder)
        self._door: socket.socket | None = None
        self._workers: Workers | None = None
        self._failed: Failed | None = None
        self._code = 0
        self._kill_at = NEVER_S

    def open_door(self, training: str) -> str:
        """Where the leader will listen, as JSON; an error as `failed`.

        Args:
            training: that part of the configuration, as JSON.
        """
        try:
            self._door = open_door(json.loads(training))
        except SmallsightError as error:
            return json.dumps({"failed": {"exception": type(error).__name__, "message": str(error)}})
        assert self._door is not None
        return json.dumps(self._door.getsockname()[:2])

    def start(self, spec: str, node: int, address: str, port: int) -> None:
        """Start this node's processes of an attempt.

        Args:
            spec: path of the attempt's specification.
            node: which of its machines this is.
            address, port: of the leader; "" where all processes are on this node.
        """
        told = AttemptSpec.load(Path(spec))
        training = told.config["training"]
        log = told.log if node == 0 else told.log.with_name(f"worker_node_{node}.log")
        silence_s = float(training["hang_timeout_s"]) if node == 0 else NEVER_S
        try:
            if address:
                devices, nodes = int(training["devices"]), int(training["num_nodes"])
                meeting = Rendezvous(spec, devices, nodes, interface_of(training), address, port)
                door = self._door
            else:
                door = open_door(training)
                meeting = Rendezvous.of(Path(spec), training, door)
            self._workers = Workers(meeting, log, silence_s, door=door, node=node)
        except ConfigError as error:
            self._code, self._failed = error.exit_code, Failed(type(error).__name__, str(error))

    def exchange(self, answers: Sequence[str], *, stop: bool = False, kill: bool = False) -> str:
        """Pass answers and requests on, wait a moment, and tell what has been said since, as JSON.

        The content is `messages`, and `ended` once all processes are gone: `code`, `failed`, `killed_because`.

        Args:
            answers: to questions of the leader.
            stop: ask the processes to save and to end.
            kill: end them at once.
        """
        if self._workers is None:
            return json.dumps({"messages": [], "ended": _end(self._code, self._failed, "")})
        for answer in answers:
            self._workers.answer(answer)
        if stop and self._kill_at == NEVER_S:
            self._workers.stop()
            self._kill_at = time.monotonic() + GRACE_S
        if kill or time.monotonic() > self._kill_at:
            self._workers.kill()
        messages: list[dict[str, Any]] = []
        if self._workers.pipes:
            ready = wait_for([self._workers], LISTEN_S)
            messages = [content_of(message) for message in self._workers.hear(ready)]
        ended = None
        if not self._workers.pipes:
            code, failed = self._workers.outcome()
            ended = _end(code, failed, self._workers.killed_because)
            self._workers.clear_away()
            self._workers, self._code, self._failed = None, code, failed
        return json.dumps({"messages": messages, "ended": ended})


def _end(code: int, failed: Failed | None, killed_because: str) -> dict[str, Any]:
    return {"code": code, "failed": asdict(failed) if failed else None, "killed_because": killed_because}
