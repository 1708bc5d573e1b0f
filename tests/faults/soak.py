"""`make soak`: runs of the embedded detector with faults of every kind, for so many minutes; a table of what survived.

Each run gets several faults. It is started again whenever a fault ends it, and its end is compared with that of a run
without faults: to the bit, except where a fault gives up memory or rate on purpose.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from faults.harness import EPOCHS, Ground, Lost, plan_of
from faults.kinds import KINDS
from faults.process import load_everything

RARE = ("worker hangs",)
"""These take long, because a silence has to be waited for."""
OUT_OF_MEMORY = ("CUDA out of memory", "MemoryError", "worker killed by the host")


def draw_kinds(seed: int) -> Iterator[list[str]]:
    """The kinds of each run's faults, so that every kind comes equally often, rare ones in every other round.

    A run that gives something up on purpose has one fault of memory at most: a second one would end the phase.
    """
    draw, number = random.Random(seed), 0
    while True:
        exact = [kind for kind in KINDS if KINDS[kind].exact and (number % 2 == 0 or kind not in RARE)]
        draw.shuffle(exact)
        while exact:
            yield exact[:EPOCHS]
            exact = exact[EPOCHS:]
        for kind in draw.sample(OUT_OF_MEMORY, len(OUT_OF_MEMORY)):
            yield [kind, "loss is no number", "power cut"]
        number += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cold", action="store_true", help="start every process anew instead of forking it")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    load_everything()
    end = time.monotonic() + 60 * options.minutes
    folder = Path(tempfile.mkdtemp(prefix="soak_"))
    survived: Counter[tuple[str, bool]] = Counter()
    failed: list[str] = []
    began = time.monotonic()
    ground = Ground.lay(folder, warm=not options.cold)
    _say(f"undisturbed run: {time.monotonic() - began:.0f} s")
    for number, kinds in enumerate(draw_kinds(options.seed)):
        if time.monotonic() > end:
            break
        plan = plan_of(folder / f"faults_{number}", options.seed + number, kinds)
        run, began = folder / f"run_{number}", time.monotonic()
        try:
            ground.run_through(plan, run)
            ground.check(plan, run)
        except Lost as error:
            failed.append(f"run {number}, {kinds}: {error}")
            _say(failed[-1])
            continue
        happened = [fault.kind for fault in plan.happened()]
        exact = all(KINDS[kind].exact for kind in happened)
        survived.update((kind, exact) for kind in happened)
        _say(f"run {number}: {len(happened)} faults in {time.monotonic() - began:.0f} s")
        shutil.rmtree(run)
    _say(table(survived, number))
    if not failed:
        shutil.rmtree(folder)
    return len(failed) > 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the command's output


def table(survived: Counter[tuple[str, bool]], runs: int) -> str:
    """Faults survived by kind, as Markdown: all, and those in runs that ended equal to the bit."""
    lines = ["", "| fault | survived | run equal to the bit |", "|---|---|---|"]
    kinds = [kind for kind in KINDS if any(survived[kind, exact] for exact in (True, False))]
    for kind in kinds:
        lines.append(f"| {kind} | {survived[kind, True] + survived[kind, False]} | {survived[kind, True]} |")
    exact = sum(count for (_, is_exact), count in survived.items() if is_exact)
    return "\n".join([*lines, f"| **{len(kinds)} kinds, {runs} runs** | **{sum(survived.values())}** | **{exact}** |"])


if __name__ == "__main__":
    sys.exit(main())
