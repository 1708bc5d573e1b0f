"""What a further machine says before it takes part; that it does so: tests/training/test_processes.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallsight.commands.join import join
from smallsight.errors import RunFolderError


def test_a_wrong_path_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"gone/run: there is no folder .*gone\. Give the --output-dir"):
        join(tmp_path / "gone" / "run", 1, print)
