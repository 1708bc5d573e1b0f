"""Rendezvous of an attempt's processes: address and rank of each, and the announcement to other machines. No torch.

Other machines take part with `smallsight join RUN_FOLDER`. It reads a file that exists in the run folder while an
attempt runs. The run folder, the data and the environment must be the same there.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smallsight.attempts.messages import Failed
from smallsight.errors import ConfigError
from smallsight.files import write_text_atomically
from smallsight.run.folder import AttemptFolder, RunFolder

LOOPBACK = "127.0.0.1"
DOOR = "SMALLSIGHT_DOOR"
"""Environment variable of the leader with the file descriptor of its listening socket."""
_TAKEN_OVER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", DOOR)
"""Variables that torch reads; inherited ones belong to another program and are not passed on."""


@dataclass(frozen=True)
class Rendezvous:
    """The rendezvous of one attempt's processes.

    Attributes:
        key: random; tells it from other ones in the same folder.
        spec: path of the attempt's specification.
        devices: processes on each machine.
        nodes: machines.
        address, port: of the leader; `MASTER_ADDR` and `MASTER_PORT` where they are set. Port 0 for a single process.
    """

    key: str
    spec: str
    devices: int
    nodes: int
    address: str
    port: int

    @staticmethod
    def of(spec: Path, training: Mapping[str, Any], door: socket.socket | None = None) -> Rendezvous:
        """A rendezvous on this machine; `door` is the socket from `open_door`, where there are several processes."""
        devices, nodes = _count(training)
        address = LOOPBACK if nodes == 1 else os.environ.get("MASTER_ADDR", socket.getfqdn())
        port = 0 if door is None else int(door.getsockname()[1])
        return Rendezvous(secrets.token_hex(8), str(spec), devices, nodes, address, port)

    def environments(self, node: int = 0) -> list[dict[str, str]]:
        """The environment of each process on machine `node`, by local rank."""
        inherited = {key: value for key, value in os.environ.items() if key not in _TAKEN_OVER}
        if self.devices * self.nodes == 1:
            return [inherited]
        common = {
            **inherited,
            "WORLD_SIZE": str(self.devices * self.nodes),
            "NODE_RANK": str(node),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }
        return [
            {**common, "RANK": str(node * self.devices + place), "LOCAL_RANK": str(place)}
            for place in range(self.devices)
        ]

    def announce(self, folder: Path) -> Path:
        """Announce the rendezvous to other machines in a file of the run folder; returns its path."""
        path = RunFolder(folder).rendezvous
        write_text_atomically(path, json.dumps(asdict(self)))
        return path

    def write_failure(self, node: int, code: int, failure: Failed | None) -> None:
        """Write why the processes of machine `node` failed; the leader's machine sees only a lost connection."""
        word = {"code": code, "failure": asdict(failure) if failure else None}
        write_text_atomically(self._failure_file(node), json.dumps(word))

    def failure_of_others(self) -> tuple[int, Failed | None] | None:
        """Exit code and failure of another machine's processes, if it has written one."""
        for node in range(1, self.nodes):
            with contextlib.suppress(FileNotFoundError):
                word = json.loads(self._failure_file(node).read_text())
                return int(word["code"]), Failed(**word["failure"]) if word["failure"] else None
        return None

    def _failure_file(self, node: int) -> Path:
        return AttemptFolder(Path(self.spec).parent).failure_on_node(node, self.key)


def announced(folder: Path) -> Rendezvous | None:
    """The rendezvous that is announced in a run folder now; None where there is none."""
    try:
        return Rendezvous(**json.loads(RunFolder(folder).rendezvous.read_text()))
    except FileNotFoundError:
        return None


def open_door(training: Mapping[str, Any]) -> socket.socket | None:
    """Open the socket that the leader will listen on, so that no other program takes its port; None for one process.

    Raises:
        ConfigError: the port in `MASTER_PORT` is taken.
    """
    devices, nodes = _count(training)
    if devices * nodes == 1:
        return None
    port = int(os.environ.get("MASTER_PORT", "0"))
    try:
        if nodes == 1:
            return socket.create_server((LOOPBACK, port))
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise ConfigError(f"MASTER_PORT: {port} can't be listened on ({error.strerror}). Set another one.") from error


def _count(training: Mapping[str, Any]) -> tuple[int, int]:
    """Devices of each machine, and machines."""
    return int(training.get("devices", 1)), int(training.get("num_nodes", 1))
