"""One attempt on a cluster, as its driver sees it: what its nodes said, how it ended. Pure of Ray, and no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smallsight.attempts.failures import classify
from smallsight.attempts.messages import Failed
from smallsight.attempts.places import cpus_of, on_cpu
from smallsight.attempts.spec import AttemptSpec
from smallsight.errors import EXIT_DONE, EXIT_INTERRUPTED


@dataclass(frozen=True)
class End:
    """How an attempt's processes on one node ended.

    Attributes:
        code: exit code of the first that failed, else of the first.
        failed: the failure that it told.
        killed_because: they were silent for too long; else empty.
    """

    code: int
    failed: Failed | None
    killed_because: str = ""

    @staticmethod
    def read(content: Mapping[str, Any]) -> End:
        """From what `OnNode.exchange` tells."""
        failed = content["failed"]
        return End(int(content["code"]), Failed(**failed) if failed else None, str(content["killed_because"]))

    @property
    def well(self) -> bool:
        """Whether nothing failed."""
        return self.code in (EXIT_DONE, EXIT_INTERRUPTED) and not self.killed_because

    @property
    def says_why(self) -> bool:
        """Whether it names a cause; a lost connection is none, and those that were killed for it name none either."""
        failed = self.failed or Failed()
        return bool(self.killed_because) or classify(self.code, failed.exception, failed.message) != "crashed"


def cause_of(ends: Sequence[End]) -> End:
    """How an attempt over several nodes ended.

    Args:
        ends: of the nodes that ended by themselves, in their order.
    """
    failed = [end for end in ends if not end.well]
    return next((end for end in failed if end.says_why), failed[0] if failed else ends[0])


def resources_of(spec: AttemptSpec, cuda_is_there: bool) -> dict[str, float]:
    """What an attempt takes of each of its nodes.

    Args:
        spec: as it is carried out.
        cuda_is_there: whether a node of the cluster has a GPU.
    """
    training = spec.config["training"]
    devices = int(training.get("devices", 1))
    gpus = (training.get("resources") or {}).get("gpu")
    if gpus is None:
        gpus = 0 if on_cpu(training, cuda_is_there) else devices
    return {"CPU": float(cpus_of(training) * devices), "GPU": float(gpus)}


def room_for(needed: Mapping[str, float], nodes: Sequence[Mapping[str, float]], spread: int = 1) -> int:
    """How many attempts fit into a cluster at the same time.

    Args:
        needed: on each of its nodes.
        nodes: what each node has.
        spread: nodes that an attempt takes.
    """
    asked = {name: count for name, count in needed.items() if count}
    fits = (min(int(node.get(name, 0.0) / count) for name, count in asked.items()) if asked else 1 for node in nodes)
    return sum(fits) // spread


def paths_of(specs: Sequence[AttemptSpec]) -> list[str]:
    """Files and folders that the attempts read."""
    paths: dict[str, None] = {}
    for spec in specs:
        data, sets = spec.config["dataset"], spec.config["evaluation"].get("sets", {})
        keys = (f"{kind}_{which}_path" for kind in ("coco", "yolo", "voc") for which in ("train", "val"))
        found = [data.get(key) for key in keys] + [each["path"] for each in sets.values()] + [spec.start_path]
        paths |= dict.fromkeys(path for path in found if path)
    return list(paths)
