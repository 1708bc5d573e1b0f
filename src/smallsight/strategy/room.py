"""How much room the checkpoints of a phase and of a whole run take on the disk. Values and pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smallsight.config.sections import Keep

KEPT_OF_A_PHASE = 2
"""Its best and its last epoch."""
RUN_FILES = 3
"""Full checkpoints in the run folder: the latest, the one before it and the champion's."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of one lightweight and of one full checkpoint, and of what an epoch leaves beside them."""

    lightweight: int
    full: int
    epoch: int = 0


@dataclass(frozen=True)
class Need:
    """So many files of each kind at most, at one time; `epochs` leave detections and logs, too."""

    lightweight: int
    full: int
    epochs: int

    def bytes_of(self, sizes: Sizes) -> int:
        """All of them together."""
        return self.lightweight * sizes.lightweight + self.full * sizes.full + self.epochs * sizes.epoch

    def times(self, attempts: int) -> Need:
        """What several need that are carried out beside each other."""
        return Need(self.lightweight * attempts, self.full * attempts, self.epochs * attempts)

    def in_words(self, sizes: Sizes) -> str:
        """`up to 7.9 GB (24 lightweight checkpoints of 255 MB, 6 full ones of 510 MB)`."""
        files = f"{_of(self.lightweight, 'lightweight checkpoint', sizes.lightweight)}, "
        files += _of(self.full, "full one", sizes.full)
        rest = f", {in_bytes(self.epochs * sizes.epoch)} of detections and logs" if sizes.epoch else ""
        return f"up to {in_bytes(self.bytes_of(sizes))} ({files}{rest})"


def need_of_phase(epochs: int, keep: Keep, run_files: int = 0) -> Need:
    """What a phase adds at most to what is there: its own files, and one full checkpoint while it is written.

    Args:
        epochs: still to be trained; 0 where only the start is measured.
        keep: see `keeping.superfluous`.
        run_files: how many of the `RUN_FILES` are there.
    """
    lightweight = epochs if keep == "all" else min(epochs, keep + KEPT_OF_A_PHASE)
    return Need(lightweight, RUN_FILES - run_files + 2, epochs)


def need_of_run(epochs: Sequence[int], keep: Keep) -> Need:
    """What a run takes at most, from its first phase to its last.

    Args:
        epochs: of each phase that may be run.
        keep: see `keeping.superfluous`.
    """
    if keep == "all":
        return Need(sum(epochs), RUN_FILES + 1 + len(epochs), sum(epochs))
    kept = keep + sum(min(KEPT_OF_A_PHASE, count) for count in epochs)
    # The champion's, that of the phase in training, one while it is written, and after the first phase the baseline's.
    return Need(min(sum(epochs), kept), RUN_FILES + 3 + (len(epochs) > 1), sum(epochs))


def in_bytes(count: float) -> str:
    """`812 kB`, `255 MB`, `7.9 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 10 * size and unit == "GB" else f"{count / size:.0f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _of(count: int, kind: str, size: int) -> str:
    return f"{count} {kind}{'s' * (count != 1)} of {in_bytes(size)}"
