"""Whether the frames of a set were rendered by `smallsight synth`: it leaves a mark in the annotation file.

Nothing is concluded from the pixels: no statistic that was tried keeps rendered and real frames apart once they are
compressed again or noisy (docs/data.md).
"""

from __future__ import annotations

from pathlib import Path

from smallsight.data.coco import ANNOTATION_FILE
from smallsight.data.json_file import load_json

RENDERER = "smallsight synth"
KEY = "rendered_by"
"""Key of the mark in each image entry; `split`, `convert` and `merge` keep it."""


def rendered_share(folder: Path) -> float:
    """The share of a COCO folder's images that carry the mark; 0 where the annotations can't be read."""
    try:
        content = load_json(folder / ANNOTATION_FILE)
        info, images = content.get("info"), content["images"]
        if isinstance(info, dict) and str(info.get("description")).startswith(RENDERER):  # sets from before the key
            return 1.0
        return float(sum(image.get(KEY) == RENDERER for image in images) / len(images))
    except (OSError, ValueError, KeyError, AttributeError, TypeError, ZeroDivisionError):
        return 0.0
