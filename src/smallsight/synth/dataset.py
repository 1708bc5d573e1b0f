"""A COCO dataset of synthetic soccer frames: small balls whose boxes are known, without a download."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from smallsight.errors import DatasetError
from smallsight.files import sync_folder, write_text_atomically
from smallsight.records import Image
from smallsight.rng import keyed_generator
from smallsight.synth.rendered import KEY, RENDERER
from smallsight.synth.scene.frame import RenderedFrame, SceneObject, render_frame

__all__ = ["RenderedFrame", "SceneObject", "SynthOptions", "contact_sheet", "render_frame", "write_dataset"]

SPLITS = ("train", "valid", "test")
_CATEGORY = {"id": 1, "name": "ball", "supercategory": "none"}
_MOST_IMAGES = 1_000_000
_LEAST_WH, _MOST_WH = (160, 90), (3840, 2160)


@dataclass(frozen=True)
class SynthOptions:
    """What to write.

    Attributes:
        images: in all splits together.
        size_wh: of each image, px.
        seed: the same seed gives the same bytes.
        frames_per_clip: consecutive frames of one scene, at 25 frames a second; the last clip may be shorter.
        splits: shares of the clips in train, valid and test; a split whose share is 0 is not written.
    """

    images: int = 400
    size_wh: tuple[int, int] = (640, 360)
    seed: int = 0
    frames_per_clip: int = 1
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15)


def write_dataset(
    out: Path, options: SynthOptions, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Write OUT/train, OUT/valid and OUT/test, each with JPEG images and `_annotations.coco.json`.

    OUT appears whole or not at all. No clip is in two splits; each image record names its `clip`. The one category is
    `ball`, id 1; boxes are those of `render_frame`.

    Args:
        out: a folder that does not exist yet, or is empty.
        options: what to write.
        progress: called with (images written, images in all) after each image.
    Returns:
        Images per split that was written.
    Raises:
        DatasetError: `out` is in use, or an option is out of range.
    """
    _check(out, options)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    try:
        draft.chmod(0o755)
        written = 0
        counts = {}
        for split, clips in _clips_per_split(options).items():
            before = written
            written = _write_split(draft / split, clips, options, written, progress)
            counts[split] = written - before
        draft.replace(out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(out.parent)
    return counts


def contact_sheet(frames: list[RenderedFrame], columns: int, crop_px: int = 48, zoom: int = 4) -> Image:
    """A picture with the frames in rows, and below them a row of their balls enlarged.

    Args:
        frames: of one size; a multiple of `columns`.
        columns: frames in a row.
        crop_px: side of the square around a ball, px of its frame.
        zoom: how much such a square is enlarged.
    Returns:
        (H, W, 3) uint8 RGB, as wide as a row of frames.
    """
    rows = [np.concatenate([f.image for f in frames[i : i + columns]], axis=1) for i in range(0, len(frames), columns)]
    side = crop_px * zoom
    strip = np.full((side, rows[0].shape[1], 3), 24, np.uint8)
    shown = [frame for frame in frames if frame.objects][: strip.shape[1] // side]
    for index, frame in enumerate(shown):
        strip[:, index * side : (index + 1) * side] = _crop(frame, crop_px, side)
    return np.concatenate([*rows, strip], axis=0)


def _crop(frame: RenderedFrame, crop_px: int, side: int) -> Image:
    x1, y1, x2, y2 = frame.objects[0].box_xyxy
    half = crop_px // 2
    padded = np.pad(frame.image, ((half, half), (half, half), (0, 0)))
    x, y = int((x1 + x2) / 2), int((y1 + y2) / 2)
    crop = padded[y : y + crop_px, x : x + crop_px]
    return np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _check(out: Path, options: SynthOptions) -> None:
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out}: the output is no folder; got a file, expected a new or empty folder. Name another.")
    if out.exists() and any(out.iterdir()):
        raise DatasetError(
            f"{out}: the output folder is in use; got a folder with files in it, expected a new or empty one. "
            "Name another or empty it."
        )
    if not 1 <= options.images <= _MOST_IMAGES:
        raise _out_of_range("images", options.images, f"1 to {_MOST_IMAGES}", "Ask for fewer or more images.")
    if not 1 <= options.frames_per_clip <= _MOST_IMAGES:
        raise _out_of_range(
            "frames_per_clip", options.frames_per_clip, f"1 to {_MOST_IMAGES}", "Use 1 for single images."
        )
    low, high = ("x".join(map(str, size)) for size in (_LEAST_WH, _MOST_WH))
    if not all(a <= side <= b for a, side, b in zip(_LEAST_WH, options.size_wh, _MOST_WH, strict=True)):
        raise _out_of_range(
            "size", "x".join(map(str, options.size_wh)), f"{low} to {high}", "Use 640x360, for example."
        )
    if min(options.splits) < 0 or abs(sum(options.splits) - 1) > 1e-6:
        raise _out_of_range(
            "splits", options.splits, "three shares that sum to 1", "Use (0.7, 0.15, 0.15), for example."
        )
    clips, needed = _clip_count(options), sum(share > 0 for share in options.splits)
    if clips < needed:
        advice = "Ask for more images or for fewer frames per clip."
        raise _out_of_range(
            "images", f"{options.images} ({clips} clips)", f"{needed} clips or more, one a split", advice
        )


def _out_of_range(name: str, got: object, expected: str, advice: str) -> DatasetError:
    return DatasetError(f"synth: {name}: out of range; got {got}, expected {expected}. {advice}")


def _clip_count(options: SynthOptions) -> int:
    return -(-options.images // options.frames_per_clip)


def _clips_per_split(options: SynthOptions) -> dict[str, list[int]]:
    """Clip numbers per split, in order; each split with a share gets one clip at least."""
    total = _clip_count(options)
    order = keyed_generator("synth", options.seed, "splits").permutation(total)
    wanted = {split: share for split, share in zip(SPLITS, options.splits, strict=True) if share > 0}
    counts = {split: max(1, int(share * total)) for split, share in wanted.items()}
    largest = max(counts, key=lambda split: counts[split])
    counts[largest] += total - sum(counts.values())
    ends = np.cumsum(list(counts.values()))
    return {split: sorted(order[end - counts[split] : end].tolist()) for split, end in zip(counts, ends, strict=True)}


def _write_split(
    folder: Path,
    clips: list[int],
    options: SynthOptions,
    written: int,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Write one split; returns how many images are written in all, `written` before it."""
    folder.mkdir()
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    width, height = options.size_wh
    for clip in clips:
        first = clip * options.frames_per_clip
        for frame in range(min(options.frames_per_clip, options.images - first)):
            rendered = render_frame(options.size_wh, options.seed, clip, frame)
            name = f"clip_{clip:06d}"
            file_name = f"{name}_{frame:04d}.jpg"
            (folder / file_name).write_bytes(_jpeg(rendered))
            image_id = len(images) + 1
            entry = {"id": image_id, "file_name": file_name, "width": width, "height": height, "clip": name}
            images.append({**entry, KEY: RENDERER})
            annotations += [_annotation(len(annotations) + 1, image_id, item) for item in rendered.objects]
            written += 1
            if progress is not None:
                progress(written, options.images)
    document = {
        "info": {"description": f"{RENDERER}, seed {options.seed}"},
        "images": images,
        "annotations": annotations,
        "categories": [_CATEGORY],
    }
    write_text_atomically(folder / "_annotations.coco.json", json.dumps(document, indent=1) + "\n")
    return written


def _jpeg(frame: RenderedFrame) -> bytes:
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, frame.jpeg_quality]
    )[1]
    return bytes(encoded)


def _annotation(annotation_id: int, image_id: int, item: SceneObject) -> dict[str, object]:
    x1, y1, x2, y2 = (round(value, 2) for value in item.box_xyxy)
    width, height = round(x2 - x1, 2), round(y2 - y1, 2)
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": _CATEGORY["id"],
        "bbox": [x1, y1, width, height],
        "area": round(width * height, 4),
        "iscrowd": 0,
    }
