"""Small sets in the formats of other tools, written by hand for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from builders import write_image


def write_picture(path: Path, size_wh: tuple[int, int] = (100, 50)) -> Path:
    """Write a plain image, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((size_wh[1], size_wh[0], 3), 90, dtype=np.uint8))
    return path


def write_yolo(
    root: Path,
    labels: Mapping[str, str],
    *,
    size_wh: tuple[int, int] = (100, 50),
    description: str | None = "train: images\nnames: [ball, player]\n",
) -> Path:
    """Write `images/NAME.png` and `labels/NAME.txt` for each name, and `data.yaml`; an empty text writes no label."""
    for name, text in labels.items():
        write_picture(root / "images" / f"{name}.png", size_wh)
        label = root / "labels" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        if text:
            label.write_text(text)
    if description is not None:
        (root / "data.yaml").write_text(description)
    return root


def xml_of(
    objects: Sequence[tuple[str, Sequence[float]]] = (), *, size_wh: tuple[int, int] = (100, 50), difficult: str = "0"
) -> str:
    """A VOC annotation with one object per name and corners."""
    boxes = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2) in objects
    )
    size = f"<size><width>{size_wh[0]}</width><height>{size_wh[1]}</height><depth>3</depth></size>"
    return f"<annotation>{size}{boxes}</annotation>"


def write_voc(root: Path, texts: Mapping[str, str], *, lists: Mapping[str, str] | None = None) -> Path:
    """Write `JPEGImages/NAME.png` and `Annotations/NAME.xml` for each name, and lists into `ImageSets/Main`."""
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_picture(root / "JPEGImages" / f"{name}.png")
        if text:
            (root / "Annotations" / f"{name}.xml").write_text(text)
    for name, text in (lists or {}).items():
        (root / "ImageSets/Main" / f"{name}.txt").write_text(text)
    return root
