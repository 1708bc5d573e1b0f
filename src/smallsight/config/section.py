"""The base of every section of a configuration: strict, and its values don't change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo, field_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values don't change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"description": "keys and values"},  # for messages, as all descriptions here
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` and `false` for numbers, which Python would take as 1 and 0."""
        if info.field_name is not None and _holds_truth(value) and _is_numeric(cls, info.field_name):
            raise PydanticCustomError("no_number", "true and false are no numbers")
        return value


def _holds_truth(value: object) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return isinstance(value, bool) or any(map(_holds_truth, inner))


@cache
def _is_numeric(section: type[Section], name: str) -> bool:
    """Whether a key takes numbers, single ones or in a range or mapping, and no truth value."""
    kinds = set(_kinds(section.model_fields[name].annotation))
    return bool(kinds & {int, float}) and bool not in kinds


def _kinds(annotation: Any) -> Iterator[Any]:
    inner = () if get_origin(annotation) is Literal else get_args(annotation)
    if not inner:
        yield annotation
    for each in inner[:1] if get_origin(annotation) is Annotated else inner:
        yield from _kinds(each)


@dataclass(frozen=True)
class OneOf:
    """Marks a text that is one of `names()`, which are looked up when a value is checked: `Annotated[str, OneOf(f)]`.

    Attributes:
        names: all that may stand there, in the order in which a message lists them.
        usual: looked up first, where all of the names take longer to find.
        advice: what to do where none of the names is near.
    """

    names: Callable[[], tuple[str, ...]]
    usual: tuple[str, ...] = ()
    advice: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.names()), "advice": self.advice}

    def _checked(self, name: str) -> str:
        if name not in self.usual and name not in self.names():
            raise PydanticCustomError("unknown_name", "no such name")
        return name
