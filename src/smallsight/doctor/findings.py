"""The values of an examination: a finding, where it is, and what kind it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from smallsight.errors import visible

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""An error stops training or makes its figures wrong; a warning costs accuracy; an info is good to know."""


@dataclass(frozen=True)
class Kind:
    """A sort of fault: its usual severity, a title, and what to do about it."""

    severity: Severity
    title: str
    remedy: str


@dataclass(frozen=True)
class Where:
    """The place of a finding; what does not apply is empty or None.

    Attributes:
        split: name of the split.
        image_id: the annotation file's own.
        file: name relative to the split's folder, as it stands in the annotation file or on the disk.
        annotation_id: the annotation file's own.
        box_xywh: px, image frame.
    """

    split: str = ""
    image_id: int | None = None
    file: str = ""
    annotation_id: int | None = None
    box_xywh: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Finding:
    """One fault at one place.

    Attributes:
        kind: key of `kinds.KINDS`.
        message: the evidence.
        remedy: what to do.
        twin: the other place where two are alike.
    """

    kind: str
    severity: Severity
    where: Where
    message: str
    remedy: str
    twin: Where | None = None


@dataclass(frozen=True)
class Group:
    """All findings of a kind and a severity, in the order of the data."""

    kind: str
    severity: Severity
    title: str
    remedy: str
    findings: tuple[Finding, ...]


def place(where: Where) -> str:
    """Where, in words: `train/a.jpg, image 3, annotation 7`."""
    file = "/".join(part for part in (where.split, where.file) if part)
    image = "" if where.image_id is None else f"image {where.image_id}"
    annotation = "" if where.annotation_id is None else f"annotation {where.annotation_id}"
    return visible(", ".join(part for part in (file, image, annotation) if part))


def count_of(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings there are of each severity."""
    counts: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
    for finding in findings:
        counts[finding.severity] += 1
    return counts
