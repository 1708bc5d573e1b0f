"""The processes that train one attempt together, one per device: their ranks, shares of the work, and communication.

Each holds the whole detector and takes its part of every batch; gradients are averaged (`DistributedDataParallel`). The
leader (rank 0) alone communicates with the runner, writes files and decides; the others follow.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn

from smallsight.attempts.messages import Message
from smallsight.attempts.rendezvous import DOOR
from smallsight.detectors.base import Losses

T = TypeVar("T")
BACKEND = "cpu:gloo,cuda:nccl"
LOOK_EVERY_S = 0.1
PATIENCE = 2.0
"""Timeout between processes, in multiples of `hang_timeout_s`: longer, so that the runner notices a hang first."""


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train together.

    Attributes:
        rank: 0 leads.
        count: of all of them, on all machines.
        local_rank: its place on this machine, and the index of its device.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Processes:
        """The ranks that `attempts/child.py` set, in environment variables that torch reads too."""
        return Processes(*(int(environment.get(name, alone)) for name, alone in _VARIABLES))

    @property
    def leads(self) -> bool:
        """Whether this process leads: it alone writes files, communicates with the runner and decides."""
        return self.rank == 0

    def join(self, hang_timeout_s: float, while_waiting: Callable[[], None]) -> None:
        """Wait until all processes have joined; afterwards all must make the same collective calls in the same order.

        Args:
            hang_timeout_s: how long the leader may send no message.
            while_waiting: called repeatedly. The wait may be long, because other machines may be busy.
        """
        if self.count == 1:
            return
        timeout = timedelta(seconds=PATIENCE * hang_timeout_s)
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        door = int(os.environ[DOOR]) if DOOR in os.environ else None
        store = dist.TCPStore(  # type: ignore[attr-defined]
            address, port, None, self.leads, timeout, wait_for_workers=False, master_listen_fd=door
        )
        arrived = store.add("arrived", 1)
        while arrived < self.count:
            while_waiting()
            time.sleep(LOOK_EVERY_S)
            arrived = store.add("arrived", 0)
        backend = BACKEND if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=timeout, store=store, rank=self.rank, world_size=self.count)

    def leave(self) -> None:
        """Leave the group of processes; a no-op for a single one."""
        if self.count > 1:
            dist.destroy_process_group()

    def own_part(self, items: Sequence[T]) -> list[T]:
        """The part of `items` that this process takes."""
        return list(items[self.rank :: self.count])

    def broadcast(self, value: Any) -> Any:
        """The leader's value, made of plain JSON values, in every process."""
        return value if self.count == 1 else json.loads(self._gathered(_as_bytes(value) if self.leads else b"")[0])

    def merged(self, values: Mapping[int, float]) -> dict[int, float]:
        """All processes' figures by their keys, in every process."""
        if self.count == 1:
            return dict(values)
        parts = [json.loads(part) for part in self._gathered(_as_bytes(list(values.items())))]
        return {key: value for part in parts for key, value in part}

    def merged_arrays(self, values: Mapping[int, npt.NDArray[Any]]) -> dict[int, npt.NDArray[Any]]:
        """All processes' arrays by their keys, in every process. They differ in nothing but their first size."""
        if self.count == 1:
            return dict(values)
        found: dict[int, npt.NDArray[Any]] = {}
        shapes = [[key, list(array.shape), array.dtype.str] for key, array in values.items()]
        told = self._gathered(_as_bytes(shapes))
        packed = self._gathered(b"".join(np.ascontiguousarray(array).tobytes() for array in values.values()))
        for part, numbers in zip(told, packed, strict=True):
            start = 0
            for key, shape, kind in json.loads(part):
                array = np.frombuffer(numbers, np.dtype(kind), math.prod(shape), start).reshape(shape)
                found[key], start = array.copy(), start + array.nbytes
        return found

    def _gathered(self, content: bytes) -> list[bytes]:
        """Every process's bytes, by rank. They travel as tensors: nothing that a peer sends is unpickled."""
        mine = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([len(mine)]))
        padded = torch.zeros(max(1, *map(int, sizes)), dtype=torch.uint8)
        padded[: len(mine)] = mine
        every = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(every, padded)
        return [part[: int(size)].numpy().tobytes() for part, size in zip(every, sizes, strict=True)]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.count == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def barrier(self) -> None:
        """Wait until every process has come to this call."""
        self.any(False)

    def mean(self, losses: Losses) -> Losses:
        """A batch's losses over all of its parts, detached; the tiny objects' share over those that have objects."""
        parts = {name: part.detach() for name, part in losses.parts.items()}
        if self.count == 1:
            return Losses(parts, losses.tiny_share)
        known = losses.tiny_share.isfinite().to(losses.tiny_share.dtype)
        share = losses.tiny_share.nan_to_num(0.0)
        values = torch.stack([*(part.float() for part in parts.values()), share.float(), known.float()])
        dist.all_reduce(values)
        *sums, share, known = values
        return Losses({name: total / self.count for name, total in zip(parts, sums, strict=True)}, share / known)

    def even_buffers(self, *modules: nn.Module) -> None:
        """Copy the leader's buffers to all processes, whose batch norm statistics come from their own images."""
        if self.count > 1:
            for module in modules:
                for buffer in module.buffers():
                    dist.broadcast(buffer, src=0)


def _as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


ALONE = Processes()
_VARIABLES = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


class Channel(Protocol):
    """How an attempt communicates with its runner."""

    def tell(self, message: Message) -> None:
        """Report something; returns at once."""

    def ask_to_go_on(self) -> bool:
        """After a reported epoch: wait for the answer whether to train another one."""

    def stop_requested(self) -> bool:
        """Whether the attempt shall save its state and end now."""

    def listen_to_signals(self) -> None:
        """Turn signals to stop into stop requests, in place of any handler set before."""


class LeadersChannel:
    """The channel of several processes: the leader communicates for all of them, and all get the answers.

    `stop_requested` is of this process only, because the processes can't synchronize during an evaluation; see
    `Processes.any`.
    """

    def __init__(self, channel: Channel, processes: Processes) -> None:
        self._channel, self._processes = channel, processes
        self.stop_requested = channel.stop_requested
        self.listen_to_signals = channel.listen_to_signals

    def tell(self, message: Message) -> None:
        """Report something, if this is the leader."""
        if self._processes.leads:
            self._channel.tell(message)

    def ask_to_go_on(self) -> bool:
        """The answer that the leader got."""
        return bool(self._processes.broadcast(self._processes.leads and self._channel.ask_to_go_on()))
