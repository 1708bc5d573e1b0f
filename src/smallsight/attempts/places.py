"""How many attempts of a run are carried out at the same time on this machine, and what each of them gets.

An attempt beside others trains on one device with a number of threads that does not depend on how many there are:
its records and weights are the same when it is carried out alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smallsight.attempts.spec import AttemptSpec

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Machine:
    """What a machine has.

    Attributes:
        cpus: that this process may use.
        cuda: names of its CUDA devices, as `CUDA_VISIBLE_DEVICES` takes them.
    """

    cpus: int
    cuda: Sequence[str] = ()


def this_machine() -> Machine:
    """What this machine has. No torch, so CUDA devices are counted by their files."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    there = sorted(file.name.removeprefix("nvidia") for file in Path("/dev").glob("nvidia[0-9]*"))
    visible = os.environ.get(_VISIBLE)
    return Machine(cpus, [str(index) for index in range(len(there))] if visible is None else _names(visible))


def _names(visible: str) -> list[str]:
    return [name.strip() for name in visible.split(",") if name.strip()]


def on_cpu(training: Mapping[str, Any], cuda_is_there: bool) -> bool:
    """Whether an attempt trains on a CPU."""
    return training["device"] == "cpu" or (training["device"] == "auto" and not cuda_is_there)


def shared_out(spec: AttemptSpec, cuda_is_there: bool) -> AttemptSpec:
    """An attempt beside others, as it is carried out: on one device, on a CPU with the threads of its place.

    Where the configuration has several devices, as many images go into an optimizer step, one batch after the other.
    An attempt that is alone stays as it is.
    """
    if not spec.beside_others:
        return spec
    training = dict(spec.config["training"])
    devices = training.get("devices", 1) * training.get("num_nodes", 1)
    training |= {"devices": 1, "num_nodes": 1, "grad_accum_steps": training.get("grad_accum_steps", 1) * devices}
    if on_cpu(training, cuda_is_there):
        training["threads"] = training.get("threads") or cpus_of(training)
    return replace(spec, config={**spec.config, "training": training})


def cpus_of(training: Mapping[str, Any]) -> int:
    """CPUs that an attempt beside others takes."""
    return int(training.get("resources", {}).get("cpu") or training.get("threads") or 1)


def places_of(training: Mapping[str, Any], machine: Machine, workers: int | None) -> int:
    """How many attempts are carried out at the same time.

    Args:
        training: of the run's configuration.
        machine: this one.
        workers: as the user says; None: one for each device that the configuration names, on a CPU one for the CPUs of
            each attempt.
    """
    if workers is not None:
        return workers
    if on_cpu(training, bool(machine.cuda)):
        return max(1, machine.cpus // cpus_of(training))
    return int(training.get("devices", 1))


def variables_of(spec: AttemptSpec, place: int, machine: Machine) -> dict[str, str]:
    """Environment variables of the attempt in a place, from 0: they show it a CUDA device of its own.

    Where the configuration names the device, or there are fewer devices than places, several attempts share one.
    """
    if not spec.beside_others or not machine.cuda or spec.config["training"]["device"] not in ("auto", "cuda"):
        return {}
    return {_VISIBLE: machine.cuda[place % len(machine.cuda)]}
