"""smallsight: lift the small-object AP of a detector, unattended, and say whether other images would show it.

The names in `__all__` are what other programs may build on; docs/python.md shows them at work. Each is loaded when it
is first used, so that `import smallsight` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["Run", "__version__", "evaluate", "load_detector", "optimize", "read_coco"]
__version__ = "0.1.0"

if TYPE_CHECKING:
    from smallsight.commands.python_api import evaluate, load_detector, optimize, read_coco
    from smallsight.commands.read_run import Run
else:  # hidden from type checkers, which would take any name for one of the package's
    _HOMES = {
        "Run": "smallsight.commands.read_run",
        "evaluate": "smallsight.commands.python_api",
        "load_detector": "smallsight.commands.python_api",
        "optimize": "smallsight.commands.python_api",
        "read_coco": "smallsight.commands.python_api",
    }

    def __getattr__(name: str) -> object:
        """A public name, from where it is defined."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        """All names, those that are not loaded yet included."""
        return sorted({*globals(), *__all__})
