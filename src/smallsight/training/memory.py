"""Memory: how much there may be, how much is taken, and whether the hardest step of a phase fits.

Without a probe, a step that is too large comes when its scale happens to be drawn, hours later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from smallsight.attempts.failures import is_out_of_memory
from smallsight.attempts.messages import Probe
from smallsight.detectors.base import Detector
from smallsight.training.loader import Batch
from smallsight.training.machine import available_mb, peak_resident_mb, resident_mb

RESERVE = 0.1
"""Share of the limit that a batch chosen by `largest_batch`, and frames that are kept, leave free."""
OPTIMIZER_COPIES = 2
"""AdamW keeps so many values for each weight."""
CHECKPOINT_COPIES = 2 + OPTIMIZER_COPIES
"""A checkpoint holds weights, average and what the optimizer keeps; it is put together in memory."""
STEPS = 2
"""The gradients of the first step are there while the second one runs, as they are in a training."""


def limit_mb(device: torch.device, budget_mb: float | None) -> float:
    """How much memory the training may take.

    Args:
        device: CUDA: what the driver calls free, and what this process has taken of the rest. Else: the same of the
            memory of the machine, or of the container.
        budget_mb: the user's own limit, where it is lower.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        there = (free + torch.cuda.memory_reserved(device)) / 1e6
    else:
        there = available_mb() + resident_mb()
    return min(there, budget_mb) if budget_mb else there


def peak_mb(device: torch.device) -> float:
    """Highest memory so far: the CUDA allocator's, else this process's resident size."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else peak_resident_mb()


def refuse_above(budget_mb: float | None, device: torch.device) -> None:
    """Hold a training on a CPU to its budget; a CUDA device has the allocator's own limit.

    Raises:
        MemoryError: the process has grown beyond `budget_mb`.
    """
    taken = resident_mb() if budget_mb and device.type != "cuda" else 0.0
    if budget_mb and taken > budget_mb:
        raise MemoryError(f"the training takes {taken:.0f} MB, its budget (training.memory_budget_mb) is {budget_mb:g}")


def probe(
    detector: Detector,
    hardest: Batch,
    evaluate: Callable[[], object],
    *,
    device: torch.device,
    budget_mb: float | None,
    autocast: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Probe:
    """Steps, a validation and a checkpoint as large as they will ever be; the detector is as before afterwards.

    Args:
        detector: on its device.
        hardest: a batch at the largest scale with the most objects, on the CPU.
        evaluate: the hardest validation step.
        device: of the detector.
        budget_mb: the user's own limit.
        autocast: the precision of the training.
    Raises:
        MemoryError, RuntimeError: it does not fit.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.set_per_process_memory_fraction(_share(device, budget_mb), device)
    images, targets = hardest
    with _untouched(detector), torch.random.fork_rng():
        # Written to, because zeros take no memory on a CPU.
        moments = [torch.ones_like(p) for p in detector.parameters() for _ in range(OPTIMIZER_COPIES)]
        detector.train()
        for _ in range(STEPS):
            with autocast():
                losses = detector.losses(images.to(device), [target.to(device) for target in targets])
            refuse_above(budget_mb, device)  # here, because what is kept for the backward pass is still there
            losses.total.backward()  # type: ignore[no-untyped-call]
            del losses
        detector.zero_grad(set_to_none=True)
        evaluate()
        if device.type != "cuda":
            _put_together_checkpoint(detector)
        refuse_above(budget_mb, device)
        del moments
    return Probe(len(images), peak_mb(device), limit_mb(device, budget_mb))


def _put_together_checkpoint(detector: Detector) -> int:
    """Take as much memory as the checkpoint of a training does before it is written; its size in bytes."""
    size = CHECKPOINT_COPIES * sum(p.numel() * p.element_size() for p in detector.parameters())
    return len(b"\1" * size)


def _share(device: torch.device, budget_mb: float | None) -> float:
    total = torch.cuda.get_device_properties(device).total_memory / 1e6
    return min(1.0, budget_mb / total) if budget_mb else 1.0


@contextlib.contextmanager
def _untouched(detector: Detector) -> Iterator[None]:
    """Put back what a forward pass in training mode changes: buffers, gradients, the mode."""
    was_training = detector.training
    buffers: dict[str, Tensor] = {name: buffer.clone() for name, buffer in detector.named_buffers()}
    try:
        yield
    finally:
        detector.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in detector.named_buffers():
                buffer.copy_(buffers[name])
        detector.train(was_training)


def largest_batch(effective: int, try_batch: Callable[[int], Probe]) -> int:
    """The largest batch that fits, so that a whole number of them makes the effective batch.

    Sizes are tried from 1 on. One is not tried where the two before it say that it would not fit: on a CPU there is no
    error to catch, the system would kill the process.

    Args:
        effective: images per optimizer step.
        try_batch: runs the hardest step with a batch.
    Raises:
        MemoryError, RuntimeError: not even one image fits.
    """
    fits = [try_batch(1)]
    for size in (size for size in range(2, effective + 1) if effective % size == 0):
        if _predicted_mb(fits, size) > (1 - RESERVE) * fits[-1].limit_mb:
            break
        try:
            fits.append(try_batch(size))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            break
        if fits[-1].peak_mb > (1 - RESERVE) * fits[-1].limit_mb:
            fits.pop()
            break
    return fits[-1].batch_size


def _predicted_mb(fits: list[Probe], size: int) -> float:
    """By a straight line through the last two; a single one says nothing of the slope."""
    if len(fits) < 2:
        return fits[-1].peak_mb
    low, high = fits[-2:]
    slope = (high.peak_mb - low.peak_mb) / (high.batch_size - low.batch_size)
    return high.peak_mb + slope * (size - high.batch_size)
