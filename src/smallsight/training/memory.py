"""Memory: its limit, its use, and whether the largest step of a phase fits.

Without a probe, a step that is too large would fail only when its scale is drawn, perhaps hours later.
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
"""Share of the limit that stays free when `largest_batch` chooses a batch and when decoded frames are kept."""
OPTIMIZER_COPIES = 2
"""Values that AdamW keeps for each weight."""
CHECKPOINT_COPIES = 2 + OPTIMIZER_COPIES
"""A checkpoint holds weights, average and the optimizer's values; it is assembled in memory."""
STEPS = 2
"""Two, because in a training the gradients of one step are still in memory while the next one runs."""


def limit_mb(device: torch.device, budget_mb: float | None) -> float:
    """Memory that the training may take, MB.

    Args:
        device: on CUDA, the limit is the memory that the driver reports as free plus what this process has reserved;
            else the memory that is available on the machine, or in the container, plus what this process uses.
        budget_mb: the user's own limit, which counts where it is lower.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        there = (free + torch.cuda.memory_reserved(device)) / 1e6
    else:
        there = available_mb() + resident_mb()
    return min(there, budget_mb) if budget_mb else there


def peak_mb(device: torch.device) -> float:
    """Peak memory so far, MB: of the CUDA allocator, else of this process's resident size."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else peak_resident_mb()


def refuse_above(budget_mb: float | None, device: torch.device) -> None:
    """Enforce the memory budget of a training on a CPU; on CUDA the allocator enforces it.

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
    """Run the largest training steps and validation step of a phase, and measure the memory that they take.

    The detector is the same afterwards.

    Args:
        detector: on its device.
        hardest: a batch at the largest scale with the most objects, on the CPU.
        evaluate: runs the largest validation step.
        device: of the detector.
        budget_mb: the user's own limit.
        autocast: the precision of the training.
    Returns:
        The peak, which includes the assembly of a checkpoint on a CPU, and the limit, MB.
    Raises:
        MemoryError, RuntimeError: it does not fit.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.set_per_process_memory_fraction(_share(device, budget_mb), device)
    images, targets = hardest
    with _untouched(detector), torch.random.fork_rng():
        # Ones, because on a CPU memory of zeros is not taken until it is written to.
        moments = [torch.ones_like(p) for p in detector.parameters() for _ in range(OPTIMIZER_COPIES)]
        detector.train()
        for _ in range(STEPS):
            with autocast():
                losses = detector.losses(images.to(device), [target.to(device) for target in targets])
            refuse_above(budget_mb, device)  # here, because the activations are still held
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
    """Take as much memory as the assembly of a checkpoint does; returns the size in bytes."""
    size = CHECKPOINT_COPIES * sum(p.numel() * p.element_size() for p in detector.parameters())
    return len(b"\1" * size)


def _share(device: torch.device, budget_mb: float | None) -> float:
    total = torch.cuda.get_device_properties(device).total_memory / 1e6
    return min(1.0, budget_mb / total) if budget_mb else 1.0


@contextlib.contextmanager
def _untouched(detector: Detector) -> Iterator[None]:
    """Restore what a forward pass in training mode changes: buffers, gradients, the mode."""
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
    """The largest batch size that fits into memory and divides the effective batch.

    Sizes are tried from 1 upwards. The search ends before a size that the two before it predict not to fit: on a CPU
    the system would kill the process, with no error to catch.

    Args:
        effective: images per optimizer step.
        try_batch: runs the largest step with a batch size.
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
    """Peak at `size` by a straight line through the last two probes; that of the only probe where there is one."""
    if len(fits) < 2:
        return fits[-1].peak_mb
    low, high = fits[-2:]
    slope = (high.peak_mb - low.peak_mb) / (high.batch_size - low.batch_size)
    return high.peak_mb + slope * (size - high.batch_size)
