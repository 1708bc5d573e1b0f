"""The examination as one HTML file that needs no network: findings with pictures, sizes, recommendation.

The template escapes all text that comes from data; pictures are JPEG inside the page.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from jinja2 import Environment, StrictUndefined

from smallsight.data.data_findings import DataFinding, Where
from smallsight.data.frames import content_of, pixels
from smallsight.doctor.examine import Examination
from smallsight.doctor.kinds import Group, count_of, grouped, line_of, place
from smallsight.doctor.network_sizes import LIMITS_PX
from smallsight.errors import visible
from smallsight.files import write_text_atomically

EXAMPLES = 20
"""Findings of a kind that are listed; the JSON has all of them."""
PICTURES, MOST_PICTURES = 4, 80
"""Findings of a kind that are shown as pictures, and pictures on the whole page."""
PICTURE_PX = 160
CONTEXT = 4.0
"""A picture shows this many times the box's longer side, `LEAST_CONTEXT_PX` at least."""
LEAST_CONTEXT_PX = 48
_UNSAFE = frozenset(("path_outside", "image_missing", "image_unreadable", "image_truncated", "image_name_invalid"))
_BOX_BGR = (60, 60, 255)
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


@dataclass(frozen=True)
class Row:
    """A finding as the page shows it: `pictures` are base64 JPEGs, each with its caption."""

    where: str
    message: str
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PageSection:
    """A group as the page shows it."""

    group: Group
    rows: tuple[Row, ...]

    @property
    def more(self) -> int:
        """Findings that are not listed."""
        return len(self.group.findings) - len(self.rows)


def write_page(path: Path, examination: Examination) -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        OSError: the page can't be written.
    """
    write_text_atomically(path, render(examination))


def render(examination: Examination) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["visible"] = visible
    source = (files("smallsight.doctor") / "page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        examination=examination,
        counts=count_of(examination.findings),
        sections=tuple(_sections(examination)),
        limits=LIMITS_PX,
    )


def _sections(examination: Examination) -> Iterator[PageSection]:
    folders = {split.name: Path(split.folder) for split in examination.splits}
    left = MOST_PICTURES
    for group in grouped(examination.findings):
        rows = []
        for number, item in enumerate(group.findings[:EXAMPLES]):
            pictures = tuple(_pictures(item, folders)) if number < PICTURES and left > 0 else ()
            left -= len(pictures)
            rows.append(Row(place(item.where), line_of(item), pictures))
        yield PageSection(group, tuple(rows))


def _pictures(item: DataFinding, folders: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    if item.kind in _UNSAFE:
        return
    for where in (item.where, item.twin):
        if where is None or not where.file or where.split not in folders:
            continue
        image = _read(folders[where.split], where.file)
        if image is not None:
            yield place(where), picture(image, where)


def _read(folder: Path, name: str) -> npt.NDArray[np.uint8] | None:
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        return pixels(content_of(path), cv2.IMREAD_COLOR)
    except (OSError, ValueError, RuntimeError):  # changed since it was read
        return None


def picture(image: npt.NDArray[np.uint8], where: Where) -> str:
    """The surroundings of the box, or the whole image where there is none, as a base64 JPEG.

    Args:
        image: (H, W, 3) uint8 BGR.
        where: its box is drawn; a box outside the image shows the whole image.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = 0, 0, width, height
    box = where.box_xywh
    if box is not None and np.all(np.isfinite(box)):
        reach = max(CONTEXT * max(box[2], box[3], 0), LEAST_CONTEXT_PX) / 2
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        window = [
            int(np.clip(value, 0, end))
            for value, end in ((x - reach, width), (y - reach, height), (x + reach, width), (y + reach, height))
        ]
        if window[2] - window[0] > 1 and window[3] - window[1] > 1:
            left, top, right, bottom = window
    scale = PICTURE_PX / max(right - left, bottom - top)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    method = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA
    shown = cv2.resize(image[top:bottom, left:right], size, interpolation=method)
    if box is not None and np.all(np.isfinite(box)):
        corners = np.array([box[0] - left, box[1] - top, box[0] + box[2] - left, box[1] + box[3] - top]) * scale
        x1, y1, x2, y2 = (int(value) for value in np.clip(np.round(corners), -10, 10 + PICTURE_PX))
        cv2.rectangle(shown, (x1, y1), (x2, y2), _BOX_BGR, 1)
    encoded = cv2.imencode(".jpg", shown, _JPEG)[1]
    return base64.b64encode(encoded.tobytes()).decode("ascii")
