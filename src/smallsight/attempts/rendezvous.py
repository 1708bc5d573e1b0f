"""Rendezvous of an attempt's processes: address and rank of each. No torch.

They listen on one network interface only: the one that the configuration names, else the machine's own loopback.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallsight.errors import ConfigError

LOOPBACK = "127.0.0.1"
LOOPBACK_INTERFACE = "lo0" if sys.platform == "darwin" else "lo"
DOOR = "SMALLSIGHT_DOOR"
"""Environment variable of the leader with the file descriptor of its listening socket."""
_TAKEN_OVER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", DOOR)
"""Variables that torch reads; inherited ones belong to another program and are not passed on."""
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
_SIOCGIFADDR = 0x8915


@dataclass(frozen=True)
class Rendezvous:
    """The rendezvous of one attempt's processes.

    Attributes:
        spec: path of the attempt's specification.
        devices: processes on each machine.
        nodes: machines.
        interface: name of the network interface over which they talk.
        address, port: of the leader. 0 where one process is alone.
    """

    spec: str
    devices: int = 1
    nodes: int = 1
    interface: str = LOOPBACK_INTERFACE
    address: str = LOOPBACK
    port: int = 0

    @staticmethod
    def of(spec: Path, training: Mapping[str, Any], door: socket.socket | None = None) -> Rendezvous:
        """A rendezvous at `door`, the socket from `open_door`, where there are several processes."""
        address, port = (LOOPBACK, 0) if door is None else door.getsockname()[:2]
        return Rendezvous(str(spec), *_count(training), interface_of(training), str(address), int(port))

    def environments(self, node: int = 0) -> list[dict[str, str]]:
        """The environment of each process on machine `node`, by local rank."""
        inherited = {key: value for key, value in os.environ.items() if key not in _TAKEN_OVER}
        if self.devices * self.nodes == 1:
            return [inherited]
        common = {
            **inherited,
            **dict.fromkeys(_INTERFACES, self.interface),
            "WORLD_SIZE": str(self.devices * self.nodes),
            "NODE_RANK": str(node),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }
        return [
            {**common, "RANK": str(node * self.devices + place), "LOCAL_RANK": str(place)}
            for place in range(self.devices)
        ]


def interface_of(training: Mapping[str, Any]) -> str:
    """The network interface over which an attempt's processes talk."""
    return str(training.get("interface") or LOOPBACK_INTERFACE)


def open_door(training: Mapping[str, Any]) -> socket.socket | None:
    """Open the socket that the leader will listen on, at a port that the system gives; None for one process.

    Raises:
        ConfigError: see `address_of`.
    """
    devices, nodes = _count(training)
    return None if devices * nodes == 1 else socket.create_server((address_of(interface_of(training)), 0))


def address_of(interface: str) -> str:
    """The IPv4 address of a network interface of this machine.

    Raises:
        ConfigError: it is not there, or has none.
    """
    if interface == LOOPBACK_INTERFACE:
        return LOOPBACK
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            found = fcntl.ioctl(any_socket, _SIOCGIFADDR, interface.encode()[:15].ljust(256, b"\0"))
        except OSError as error:
            names = ", ".join(name for _, name in socket.if_nameindex())
            raise ConfigError(
                f"training.interface: {interface} has no IPv4 address on {socket.gethostname()}. Use one of {names}."
            ) from error
    return socket.inet_ntoa(found[20:24])


def _count(training: Mapping[str, Any]) -> tuple[int, int]:
    """Devices of each machine, and machines."""
    return int(training.get("devices", 1)), int(training.get("num_nodes", 1))
