"""Image sizes in label files: fill in missing ones, and find why they differ from the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smallsight.data.image_header import ImageHeader, read_header, upright_size
from smallsight.errors import DatasetError

SizeRule = Literal["check", "file", "scale"]
"""If the size in a label file differs from the image's: refuse it, take the image's, or scale the boxes to the image.
"""
Size = tuple[int, int]
_NEARLY_ALL = 0.99
_FEWEST = 3
"""Fewest images for which sizes that are wrong in nearly all of them are taken to have one cause."""
_SAMPLE = 24


def is_missing(width: Any, height: Any) -> bool:
    """Whether an entry has no size: a side is not given, or both are 0 as some tools leave them."""
    return None in (width, height) or (width == 0 and height == 0)


def missing_size(path: Path, width: Any, height: Any) -> Size:
    """The size of an image whose entry has none, px.

    Args:
        path: the image.
        width, height: as given in the entry; at least one is missing.
    Raises:
        DatasetError: the file can't be read, is turned by its EXIF flag, or contradicts the side that is given.
    """
    size_wh = upright_size(path)
    for given, side in zip((width, height), size_wh, strict=True):
        if given not in (None, 0, side):
            raise DatasetError(f"{path}: it has {size_wh[0]}x{size_wh[1]} px. Write its true width and height.")
    return size_wh


def size_difference(stored_wh: Size, given_wh: Size) -> str:
    """How the size of an image file differs from the one in its entry, in words; empty where they are equal."""
    if stored_wh == given_wh:
        return ""
    stored, given = ("{}x{}".format(*size) for size in (stored_wh, given_wh))
    turned = "; width and height are swapped" if stored_wh == given_wh[::-1] else ""
    return f"the file has {stored} px, the annotation says {given}{turned}"


@dataclass(frozen=True)
class SizePair:
    """The size of an image in its label file, px, and its header."""

    given_wh: Size
    header: ImageHeader

    @property
    def swapped(self) -> bool:
        """Whether width and height have changed places."""
        return self.given_wh != self.header.size_wh == self.given_wh[::-1]


def size_fault(pairs: Sequence[SizePair]) -> str:
    """The one cause of sizes that are wrong in nearly all images, and what to do; '' where there is no such cause.

    Args:
        pairs: of all images of a set, or of a sample.
    """
    wrong = [pair for pair in pairs if pair.given_wh != pair.header.size_wh]
    if len(pairs) < _FEWEST or len(wrong) < _NEARLY_ALL * len(pairs):
        return ""
    first = wrong[0]
    example = "{}x{} px, the file has {}x{}".format(*first.given_wh, *first.header.size_wh)
    said = f"{len(wrong):,} of {len(pairs):,} images that were looked at (the first: {example})"
    turned = [pair for pair in wrong if pair.swapped and pair.header.orientation >= 5]
    if len(turned) >= _NEARLY_ALL * len(wrong):
        return (
            f"the sizes are those of the turned images in {said}: an EXIF flag turns them. Turn the pixels and clear "
            "the flag (for example with exiftran -ai), then the labels fit."
        )
    if sum(pair.swapped for pair in wrong) >= _NEARLY_ALL * len(wrong):
        return (
            f"width and height are swapped in {said}. To take the sizes of the files, run smallsight convert with "
            "--sizes file."
        )
    return (
        f"the sizes are other ones in {said}: the images look resized after labelling. To scale the boxes to the "
        "files, run smallsight convert with --sizes scale; where they fit the files already, with --sizes file."
    )


def sampled_size_fault(images: Sequence[tuple[Path, Size]]) -> str:
    """`size_fault` of a sample of the images; unreadable files are left out."""
    step = max(1, len(images) // _SAMPLE)
    pairs = []
    for path, size_wh in images[::step][:_SAMPLE]:
        try:
            pairs.append(SizePair(size_wh, read_header(path)))
        except DatasetError:
            continue
    return size_fault(pairs)
