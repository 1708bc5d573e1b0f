"""Where the tensors live, and how much memory they have taken."""

from __future__ import annotations

import resource

import torch

from smallsight.errors import ConfigError


def resolve_device(wanted: str) -> torch.device:
    """The device for `training.device`: `auto` is the first CUDA device where there is one, else the CPU.

    Raises:
        ConfigError: the device is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    there = torch.backends.mps.is_available() if device.type == "mps" else (device.index or 0) < count
    if not there:
        raise ConfigError(f"training.device: {wanted} is not on this machine. Use auto or cpu.")
    return device


def peak_memory_mb() -> float:
    """Highest memory so far: the CUDA allocator's where there is one, else this process's resident size."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
