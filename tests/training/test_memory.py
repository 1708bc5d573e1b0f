"""The probe leaves no trace, the limit is kept, and the largest batch is found without trying one that can't fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from detectors.contract import target
from smallsight.attempts.failures import is_out_of_memory
from smallsight.detectors.nano.network import NanoDetector
from smallsight.training import memory
from smallsight.training.loader import Batch
from smallsight.training.machine import resident_mb
from smallsight.training.memory import (
    Probe,
    largest_batch,
    limit_mb,
    probe,
    refuse_above,
)

CPU = torch.device("cpu")


@pytest.fixture
def detector() -> NanoDetector:
    torch.manual_seed(0)
    return NanoDetector(("ball",), width=0.5)


def batch_of(count: int, side: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return images, [target([[10.0, 10.0, 18.0, 18.0]], [0])] * count


def run_probe(detector: NanoDetector, batch: Batch, budget_mb: float | None = None, **more: Any) -> Probe:
    evaluate = more.get("evaluate", lambda: detector.eval().detect(batch[0][:1], [(64, 64)]))
    return probe(detector, batch, evaluate, device=CPU, budget_mb=budget_mb)


def traces(detector: NanoDetector) -> list[Any]:
    """Everything that a step may change."""
    weights = [value.clone() for value in detector.state_dict().values()]
    return [*weights, torch.get_rng_state(), detector.training, [p.grad for p in detector.parameters()]]


def equal(left: list[Any], right: list[Any]) -> bool:
    pairs = zip(left, right, strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.mark.parametrize("training", [True, False])
def test_the_probe_leaves_no_trace(detector: NanoDetector, training: bool) -> None:
    detector.train(training)
    before = traces(detector)
    found = run_probe(detector, batch_of(3))
    assert equal(traces(detector), before)
    assert found.batch_size == 3 and 0 < found.peak_mb < found.limit_mb


def test_a_step_would_leave_one(detector: NanoDetector) -> None:
    """So that the test above compares something."""
    detector.train()
    before = traces(detector)
    detector.losses(*batch_of(3))
    assert not equal(traces(detector), before), "buffers of the batch norms"


def test_the_probe_leaves_no_trace_where_it_fails(detector: NanoDetector) -> None:
    detector.train()
    before = traces(detector)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_probe(detector, batch_of(2), evaluate=lambda: _raise(RuntimeError("CUDA out of memory")))
    assert equal(traces(detector), before)


def test_the_probe_keeps_the_budget(detector: NanoDetector) -> None:
    with pytest.raises(MemoryError, match=r"takes \d+ MB, its budget \(training.memory_budget_mb\) is 10$"):
        run_probe(detector, batch_of(1), 10.0)


def test_the_budget_is_looked_at_where_a_step_takes_most(
    detector: NanoDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between forward and backward; afterwards the activations are gone."""
    order: list[str] = []
    losses = detector.losses

    def noted(*arguments: Any) -> Any:
        order.append("forward")
        return losses(*arguments)

    detector.head.bias.register_hook(lambda gradient: order.append("backward"))
    monkeypatch.setattr(detector, "losses", noted)
    monkeypatch.setattr(memory, "refuse_above", lambda budget_mb, device: order.append("look"))
    run_probe(detector, batch_of(1), evaluate=lambda: order.append("evaluate"))
    assert order == ["forward", "look", "backward"] * 2 + ["evaluate", "look"]


def _raise(error: Exception) -> None:
    raise error


def test_the_probe_takes_what_a_training_does_beside_its_activations(detector: NanoDetector) -> None:
    """With weights of 100 MB: twice as much for what the optimizer keeps, four times for a checkpoint in the making."""
    detector.register_parameter("ballast", torch.nn.Parameter(torch.ones(25_000_000)))
    run_probe(NanoDetector(("ball",), width=0.5), batch_of(1))  # what is loaded only once
    before, held = resident_mb(), []

    def evaluate() -> None:
        held.append(resident_mb() - before)

    found = run_probe(detector, batch_of(1), evaluate=evaluate)
    assert 190 < held[0] < 300, "moments that were written to"
    assert 590 < found.peak_mb - before < 800, "and the checkpoint beside them"


def test_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_mb", lambda: 1000.0)
    monkeypatch.setattr(memory, "resident_mb", lambda: 250.0)
    assert limit_mb(CPU, None) == limit_mb(CPU, 1e9) == 1250.0
    assert limit_mb(CPU, 50.0) == 50.0
    refuse_above(None, CPU)
    refuse_above(1e9, CPU)
    refuse_above(250.0, CPU)
    with pytest.raises(MemoryError):
        refuse_above(249.0, CPU)


def test_this_machine_has_memory() -> None:
    assert limit_mb(CPU, None) > resident_mb() > 100


def tries(limit: float, base: float, each: float, fails_at: int = 99) -> tuple[list[int], Callable[[int], Probe]]:
    """A machine of `limit` MB on which a step takes `base` and `each` MB per image; from `fails_at` on it tells."""
    tried: list[int] = []

    def try_batch(size: int) -> Probe:
        tried.append(size)
        if size >= fails_at:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return Probe(size, base + each * size, limit)

    return tried, try_batch


@pytest.mark.parametrize(
    ("effective", "machine", "largest", "tried"),
    [
        (16, {"limit": 1000, "base": 100, "each": 10}, 16, [1, 2, 4, 8, 16]),
        (16, {"limit": 1000, "base": 100, "each": 100}, 8, [1, 2, 4, 8]),
        (16, {"limit": 1000, "base": 100, "each": 300}, 2, [1, 2]),
        (16, {"limit": 1000, "base": 100, "each": 450}, 1, [1, 2]),
        (16, {"limit": 1000, "base": 100, "each": 950}, 1, [1]),
        (20, {"limit": 1000, "base": 100, "each": 80}, 10, [1, 2, 4, 5, 10]),
        (7, {"limit": 1000, "base": 100, "each": 100}, 7, [1, 7]),
        (7, {"limit": 1000, "base": 100, "each": 150}, 1, [1, 7]),
        (1, {"limit": 1000, "base": 100, "each": 100}, 1, [1]),
        (16, {"limit": 1e9, "base": 100, "each": 100, "fails_at": 5}, 4, [1, 2, 4, 8]),
        (16, {"limit": 1e9, "base": 100, "each": 100, "fails_at": 2}, 1, [1, 2]),
    ],
)
def test_the_largest_batch(effective: int, machine: dict[str, float], largest: int, tried: list[int]) -> None:
    seen, try_batch = tries(**machine)  # type: ignore[arg-type]
    assert largest_batch(effective, try_batch) == largest
    assert seen == tried


def test_not_even_one_image() -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        largest_batch(16, tries(1000, 100, 100, fails_at=1)[1])


def test_another_error_is_not_taken_for_memory() -> None:
    def broken(size: int) -> Probe:
        if size > 1:
            raise RuntimeError("shapes do not match")
        return Probe(1, 10.0, 1000.0)

    with pytest.raises(RuntimeError, match="shapes"):
        largest_batch(4, broken)


def test_the_largest_batch_of_this_machine(detector: NanoDetector) -> None:
    """Really: steps of a growing batch, up to a budget that eight images don't fit into."""
    run_probe(detector, batch_of(1, 512))
    budget = resident_mb() + 120
    found = largest_batch(16, lambda size: run_probe(detector, batch_of(size, 512), budget))
    assert 1 <= found < 16
    run_probe(detector, batch_of(found, 512), budget)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("memory"), False),
    ],
)
def test_what_says_that_memory_ran_out(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
