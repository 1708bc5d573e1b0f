"""`make mission`: the strategy document's commands on a stand-in for its author's situation, and what each shows."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from mission.checks import as_table, checked
from mission.play import play
from mission.stage import Size


def main() -> int:
    """Play all steps, check every statement, print the table; 1 where a statement does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="written anew")
    folder = parser.parse_args().folder.absolute()
    if folder.exists():
        shutil.rmtree(folder)
    began = time.monotonic()
    played = play(folder, Size(), lambda text: print(text, flush=True))
    seen = checked(played)
    (folder / "table.md").write_text(as_table(seen))
    for row in seen:
        print(f"{'holds' if row.holds else 'FAILS'}  {row.check.statement}\n       {row.happened}")
    failed = sum(not row.holds for row in seen)
    print(f"{len(seen) - failed} of {len(seen)} statements hold; {time.monotonic() - began:.0f} s; {folder}/table.md")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
