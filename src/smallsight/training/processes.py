"""The processes that train one attempt together, one per device: their ranks, shares of the work, and communication.

Each holds the whole detector and takes its part of every batch; gradients are averaged (`DistributedDataParallel`). The
leader (rank 0) alone communicates with the runner, writes files and decides; the others follow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

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
            while_waiting: called repeatedly. The wait may be long, because people start further machines by hand.
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

    def broadcast(self, value: T | None) -> T:
        """The leader's value, in every process; the others' values are ignored, and may be None."""
        values: list[Any] = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]  # type: ignore[no-any-return]

    def all_gather(self, value: T) -> list[T]:
        """Every process's value, by rank, in every process."""
        values: list[Any] = [value] * self.count
        if self.count > 1:
            dist.all_gather_object(values, value)
        return values

    def merged(self, values: Mapping[int, T]) -> dict[int, T]:
        """All processes' values by their keys, in every process."""
        return {key: value for part in self.all_gather(values) for key, value in part.items()}

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.count == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def barrier(self) -> None:
        """Wait until every process has come to this call."""
        self.all_gather(None)

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
        return self._processes.broadcast(self._processes.leads and self._channel.ask_to_go_on())
