"""The device of a training, and its numeric precision."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

from smallsight.errors import ConfigError
from smallsight.training.processes import ALONE, Processes


def resolve_device(wanted: str, processes: Processes = ALONE) -> torch.device:
    """The device for `training.device`: `auto` is the first CUDA device where there is one, else the CPU.

    Of several processes on a machine, each takes the CUDA device of its local rank; on the CPU they share it.

    Raises:
        ConfigError: this machine has no such device.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"training.device: got {wanted!r}, expected auto, cpu, cuda or cuda:N.") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if processes.count > 1:
        if device.index is not None or device.type == "mps":
            raise ConfigError(f"training.device: {wanted} is one device; for several, use auto, cuda or cpu.")
        if device.type == "cuda":
            if processes.local_rank >= count:
                raise ConfigError(f"training.devices: this machine has {count} CUDA devices. Ask for no more.")
            device = torch.device("cuda", processes.local_rank)
    elif device == torch.device("cuda"):
        device = torch.device("cuda", 0)  # parts of torch refuse a device without an index
    there = torch.backends.mps.is_available() if device.type == "mps" else (device.index or 0) < count
    if not there:
        raise ConfigError(f"training.device: {wanted} is not on this machine. Use auto or cpu.")
    return device


def precision_of(mixed: bool, device: torch.device) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """The precision of a training, as Lightning names it: bfloat16 where the device has it, else float16 with scaling.

    A CPU trains in float32: lower precision makes it no faster.
    """
    if not mixed or device.type != "cuda":
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def autocast(mixed: bool, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context with the precision of `precision_of`, for use outside Lightning's loop."""
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    kind = kinds.get(precision_of(mixed, device))
    return torch.autocast(device.type, kind) if kind else contextlib.nullcontext()
