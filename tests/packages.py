"""Packages of third parties, installed into a folder without pip or a network."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from smallsight.config.detectors import GROUP, detector_kind


def install(folder: Path, package: str, detectors: Mapping[str, str], files: Mapping[str, str]) -> None:
    """What `pip install --target FOLDER` leaves of a package.

    Args:
        detectors: its entry points, such as `{"spots": "smallsight_spots:SPOTS"}`.
        files: texts by path.
    """
    metadata = f"{package.replace('-', '_')}-0.1.dist-info"
    points = "".join(f"{name} = {value}\n" for name, value in detectors.items())
    described = {
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n",
        f"{metadata}/entry_points.txt": f"[{GROUP}]\n{points}",
    }
    for path, text in {**described, **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Packages in a folder can be imported; afterwards they and their detectors are forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        detector_kind.cache_clear()
        try:
            yield
        finally:
            detector_kind.cache_clear()
            for name in [name for name, module in sys.modules.items() if _lies_in(module, folder)]:
                del sys.modules[name]


def _lies_in(module: ModuleType, folder: Path) -> bool:
    return Path(getattr(module, "__file__", None) or "/").is_relative_to(folder)
