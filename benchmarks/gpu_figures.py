"""The figures of `gpu.py`: how they are kept while they come, and how they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smallsight.files import write_text_atomically

TITLES = {
    "frames": "Frames",
    "training": "Training by precision, and memory",
    "ratio": "Training speed against the library's own trainer",
    "resume": "Resume after kill -9",
    "memory": "Out of memory: another process holds the card",
    "detection": "Detection",
    "whole_run": "A whole run: time outside training",
    "loader": "Whether the device waits for data",
    "large_batch": "Out of memory: a batch that fits on no card",
    "tests": "Tests that concern the device",
}
"""The parts in order, by what they are worth."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        what, setting: what was measured, on what.
        value, unit: a number, or a word with no unit.
        n: of how many measurements; of what, `of` says.
        low, high: of those measurements, or the interval that `range` names.
        target, met: what was hoped for, and whether it came; None where there is no target.
    """

    what: str
    setting: str
    value: float | str
    unit: str = ""
    n: int | None = None
    of: str = ""
    low: float | None = None
    high: float | None = None
    range: str = "lowest to highest"
    target: str = ""
    met: bool | None = None


class Notes:
    """What one part has found so far, on the disk after each finding."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: dict[str, Any] = {"figures": [], "details": {}, "failures": []}
        self._write()

    def add(self, *figures: Figure) -> None:
        """Keep figures and print them."""
        self._content["figures"] += [asdict(figure) for figure in figures]
        self._write()
        for figure in figures:
            print(f"  {figure.what} | {figure.setting} | {shown(asdict(figure))}", flush=True)

    def detail(self, name: str, content: Any) -> None:
        """Keep the raw measurements behind figures."""
        self._content["details"][name] = content
        self._write()

    def failed(self, setting: str, error: BaseException) -> None:
        """One thing of several did not work; the part goes on."""
        text = f"{setting}: {type(error).__name__}: {error}"
        self._content["failures"].append(text)
        self._write()
        print(f"  failed: {text}", flush=True)

    def _write(self) -> None:
        write_text_atomically(self._path, json.dumps(_plain(self._content), indent=1))


def _plain(value: Any) -> Any:
    """As JSON takes it: what is not a number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shown(figure: Mapping[str, Any]) -> str:
    """A figure with its range and its number of measurements."""
    text = " ".join(filter(None, [_number(figure["value"]), figure["unit"]]))
    if figure["low"] is not None and figure["high"] is not None:
        text += f" [{_number(figure['low'])}, {_number(figure['high'])}]"
    return text


def _number(value: float | str | None) -> str:
    if value is None:
        return "not known"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 10_000 else str(value)


def table(content: Mapping[str, Any]) -> str:
    """All figures as Markdown: the machine, a table for each part, and what was not measured."""
    machine = content["machine"]
    lines = [f"{key}: {value}  " for key, value in machine.items()]
    lines += [f"plan: {content['plan']}, device: {content['device']}, {content['seconds']:.0f} s in all", ""]
    if content["device"] == "cpu":
        lines += [
            "A CPU trains in float32, whatever a setting asks for; these figures only show that everything runs.",
            "",
        ]
    for part in content["parts"]:
        lines += _section(part)
    return "\n".join(lines)


def _section(part: Mapping[str, Any]) -> list[str]:
    lines = [f"### {TITLES[part['name']]}", "", _state(part), ""]
    if part["figures"]:
        lines += ["| what | setting | figure | n | target |", "|---|---|---|---|---|"]
        lines += [_row(figure) for figure in part["figures"]]
        lines.append("")
        if ranges := sorted({f["range"] for f in part["figures"] if f["low"] is not None}):
            lines += [f"In brackets: {', '.join(ranges)}.", ""]
    lines += [f"- failed: {failure}" for failure in part["failures"]]
    return [*lines, ""] if part["failures"] else lines


def _state(part: Mapping[str, Any]) -> str:
    why = f": {part['why']}" if part["why"] else ""
    return f"`{part['name']}`, {part['state']} in {part['seconds']:.0f} s{why}."


def _row(figure: Mapping[str, Any]) -> str:
    n = "" if figure["n"] is None else " ".join(filter(None, [str(figure["n"]), figure["of"]]))
    met = {True: " (met)", False: " (not met)", None: ""}[figure["met"]]
    cells: Sequence[str] = (figure["what"], figure["setting"], shown(figure), n, f"{figure['target']}{met}")
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
