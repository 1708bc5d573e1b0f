"""What a phase or an arm changes in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from smallsight.config.load import Config, size_of
from smallsight.config.section import Section

_Factor = Annotated[float, Field(gt=0, le=1000)]
_NAME = "a name of small letters, digits and _, a letter first, 60 at most"


class Treatment(Section):
    """A change of settings, with what is expected of it; `mitigation` says what is done about its risk."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$", description=_NAME)]
    title: str = ""
    set: Mapping[str, Any] = {}
    scale: Mapping[str, _Factor] = {}
    expected_gain: tuple[float, float] | None = None
    risk: Literal["low", "medium", "high"] = "low"
    mitigation: str = ""

    def settings(self, config: Config) -> dict[str, Any]:
        """The configuration keys that it changes, with `scale` applied to the values in `config`."""
        changed, values = dict(self.set), flatten(config.to_dict())
        for dotted, factor in self.scale.items():
            changed[dotted] = _scaled(dotted, values[dotted], factor, size_of(config).step_px)
        return changed


def _scaled(dotted: str, value: float, factor: float, step: int) -> float:
    """`value * factor`; whole where `value` is, and a resolution is a multiple of `step`."""
    scaled = value * factor
    if dotted == "training.resolution":
        return round(scaled / step) * step
    return round(scaled) if isinstance(value, int) else float(f"{scaled:.6g}")


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
