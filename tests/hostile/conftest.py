"""One process for all hostile files of the suite: its imports take longer than the files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hostile.readers import READERS
from hostile.watchdog import Watched
from waiting import HANGS_S


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Readers that have imported what they need, so that their memory is that of the files."""
    with Watched({name: reader.read for name, reader in READERS.items()}, limit_s=HANGS_S) as started:
        for name, reader in READERS.items():
            folder = tmp_path_factory.mktemp(name)
            reader.write(folder)
            assert started(name, folder).kind == "read"
        yield started
