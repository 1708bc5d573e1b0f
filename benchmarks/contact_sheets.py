"""Contact sheets of augmentations, to be judged by eye.

`copy_paste`: small objects enlarged, real ones and pasted ones mixed; which are pasted is printed, row by row, and not
shown. Can you tell?

    python benchmarks/contact_sheets.py copy_paste DATA/train sheet.jpg [--rows 5] [--seed 0] [--streak-prob 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from smallsight.augment.copy_paste import Patches, paste_objects
from smallsight.augment.object_bank import ObjectBank
from smallsight.boxes import centres
from smallsight.config.sections import CopyPaste
from smallsight.data.coco import read_coco
from smallsight.data.frames import FrameStore
from smallsight.records import Floats, Image
from smallsight.rng import keyed_generator

COLUMNS, CROP_PX, ZOOM, GAP_PX = 8, 40, 4, 2
MOST_TURNS = 4000


def around(image: Image, box: Floats) -> Image:
    """The square around a box, enlarged pixel by pixel."""
    x, y = np.rint(centres(box[None])[0]).astype(int)
    wide = cv2.copyMakeBorder(image, CROP_PX, CROP_PX, CROP_PX, CROP_PX, cv2.BORDER_REPLICATE)
    half = CROP_PX // 2
    crop = wide[y + half : y + half + CROP_PX, x + half : x + half + CROP_PX]
    return cv2.resize(crop, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)


def real_and_pasted(folder: Path, count: int, settings: CopyPaste, seed: int) -> list[tuple[str, Image]]:
    """`count` objects of each kind in turn, as (real or pasted, enlarged); only such as may be pasted themselves."""
    dataset = read_coco(folder)
    store = FrameStore(dataset, budget_mb=1000)
    bank = ObjectBank.of(dataset.truths, [entry.size_wh for entry in dataset.images], settings.max_side_px)
    patches = Patches(bank, store.sample)
    found: dict[str, list[Image]] = {"real": [], "pasted": []}
    for turn in range(MOST_TURNS):
        generator = keyed_generator("contact sheet", seed, turn)
        index, frame = bank.draw(generator), int(generator.integers(len(dataset)))
        if patches.of(index) is not None:
            found["real"].append(around(store.sample(int(bank.frames[index])).image, bank.boxes[index]))
        before = store.sample(frame)
        after = paste_objects(before, patches, settings, generator, frame=frame)
        if len(after.truth) > len(before.truth):
            found["pasted"].append(around(after.image, after.truth.boxes[-1]))
        if min(map(len, found.values())) >= count:
            break
    return [(kind, tile) for kind, tiles in found.items() for tile in tiles[:count]]


def main() -> None:
    """Write the sheet, print which is which."""
    parser = argparse.ArgumentParser(description="Contact sheets of augmentations.")
    parser.add_argument("sheet", choices=["copy_paste"])
    parser.add_argument("data", type=Path, help="a folder with images and their COCO annotations")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--streak-prob", type=float, default=0.0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    settings = CopyPaste(enabled=True, max_pastes=1, streak_prob=given.streak_prob)
    tiles = real_and_pasted(given.data, given.rows * COLUMNS // 2, settings, given.seed)
    order = keyed_generator("order", given.seed).permutation(len(tiles))
    side = CROP_PX * ZOOM + GAP_PX
    sheet = np.full((given.rows * side, COLUMNS * side, 3), 255, np.uint8)
    for place, chosen in enumerate(order):
        kind, tile = tiles[chosen]
        row, column = divmod(place, COLUMNS)
        sheet[row * side : (row + 1) * side - GAP_PX, column * side : (column + 1) * side - GAP_PX] = tile
        print("P" if kind == "pasted" else "-", end="\n" if column == COLUMNS - 1 else " ")
    given.out.write_bytes(
        cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    )


if __name__ == "__main__":
    main()
