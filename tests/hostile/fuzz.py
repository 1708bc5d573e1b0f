"""Hands hostile files to every reader and says what became of them: `python -m hostile.fuzz --minutes 10 coco yolo`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from hostile.mutations import FORMS
from hostile.readers import READERS, Reader
from hostile.watchdog import Outcome, Watched

MAIN = ("configuration", "strategy", "coco", "yolo", "checkpoint")
ROUND = 500
"""Examples of one seed."""

Files = Mapping[str, bytes]


@dataclass
class Tally:
    """What became of a reader's examples; `failures` are those that are not sound, `slowest` took longest."""

    reader: str
    kinds: Counter[str] = field(default_factory=Counter)
    most_s: float = 0.0
    most_mb: float = 0.0
    failures: list[tuple[Files, Outcome]] = field(default_factory=list)
    slowest: Files = field(default_factory=dict)

    def add(self, files: Files, outcome: Outcome) -> None:
        self.kinds[outcome.kind] += 1
        if outcome.seconds > self.most_s:
            self.most_s, self.slowest = outcome.seconds, files
        self.most_mb = max(self.most_mb, outcome.mb)
        if not outcome.sound:
            self.failures.append((files, outcome))

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.kinds.items()))
        return (
            f"{self.reader:<14} {self.kinds.total():>8,} examples ({counts}); {len(self.failures)} failures; "
            f"longest {self.most_s:.2f} s, most {self.most_mb:.0f} MB"
        )


@contextmanager
def workplace(reader: Reader) -> Iterator[tuple[Path, dict[str, bytes]]]:
    """A folder of valid files that an example is laid over, and those of them that an example changes."""
    folder = Path(tempfile.mkdtemp(prefix="hostile."))
    try:
        reader.write(folder)
        yield folder, {name: (folder / name).read_bytes() for name in reader.hostile}
    finally:
        shutil.rmtree(folder)


def fuzz(watched: Watched, name: str, count: int, *, first_seed: int = 0, until: float = float("inf")) -> Tally:
    """Try `count` examples, or as many as there is time for."""
    tally = Tally(name)
    with workplace(READERS[name]) as (folder, valid):
        whole = watched(name, folder)  # imports and caches are not the example's
        assert whole.kind == "read", f"{name}: the valid files are not read: {whole}"
        changes = [(path, FORMS[form](valid[path])) for path, form in READERS[name].hostile.items()]

        def one(random: Random) -> None:
            if time.monotonic() > until:
                return
            path, change = random.choice(changes)
            data = change(random)
            (folder / path).write_bytes(data)
            tally.add({path: data}, watched(name, folder))
            (folder / path).write_bytes(valid[path])

        for number in range(first_seed, first_seed + -(-count // ROUND)):
            if time.monotonic() > until:
                break
            rules = settings(
                max_examples=min(count, ROUND),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            seed(number)(rules(given(st.randoms(use_true_random=True))(one)))()
    return tally


def keep(folder: Path, tally: Tally) -> None:
    """Write failures and the slowest example as files, for a look at each."""
    _write(folder / tally.reader / "slowest", tally.slowest)
    for number, (files, outcome) in enumerate(tally.failures):
        place = folder / tally.reader / f"{number:03d}_{outcome.kind}"
        _write(place, files)
        (place / "outcome.txt").write_text(f"{outcome}\n\n{outcome.detail}", errors="backslashreplace")


def _write(place: Path, files: Files) -> None:
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", default=MAIN, help=f"of {', '.join(READERS)}")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that failed or took longest")
    asked = parser.parse_args()
    failed = False
    with Watched({name: reader.read for name, reader in READERS.items()}) as watched:
        for name in asked.readers:
            until = time.monotonic() + 60 * asked.minutes
            tally = fuzz(watched, name, 10**9, first_seed=asked.seed, until=until)
            sys.stdout.write(f"{tally}\n")
            sys.stdout.flush()
            failed = failed or bool(tally.failures)
            if asked.keep:
                keep(asked.keep, tally)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
