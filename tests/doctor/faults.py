"""Every fault that can be planted into clean data, and what has to be said of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from builders import ANNOTATIONS, write_annotations, write_image
from doctor.planted import (
    Content,
    encoded,
    flat_cmyk_jpeg,
    jpeg_with_exif,
    palette_png,
    read,
    replace_image,
    scene,
)

FEW, MANY = 6, 40


@dataclass(frozen=True)
class Planted:
    """A fault: how it is put into a clean dataset, and what has to be said of it."""

    kind: str
    severity: str
    says: str
    plant: Callable[[Path], object]
    images: int = FEW
    note: str = ""


def edit(change: Callable[[Content], object]) -> Callable[[Path], None]:
    """A fault in the annotation file of the train split."""

    def plant(root: Path) -> None:
        content = read(root)
        change(content)
        write_annotations(root / "train", content)

    return plant


def box(value: Any) -> Callable[[Path], None]:
    """Another first box, its area with it."""

    def change(content: Content) -> None:
        content["annotations"][0].update(bbox=value)
        content["annotations"][0].pop("area")

    return edit(change)


def odd_box(factor: float, index: int = 3) -> Callable[[Path], None]:
    """A box that is larger than its ball by a factor, around the frame's middle or around the ball where it fits."""

    def change(content: Content) -> None:
        item = content["annotations"][index]
        x, y, side, _ = item["bbox"]
        wide = side * factor
        x, y = (max(1.0, min(start + side / 2 - wide / 2, end - 1 - wide)) for start, end in ((x, 96), (y, 64)))
        item.update(bbox=[x, y, wide, wide], area=wide * wide)

    return edit(change)


def loose_box(root: Path) -> None:
    """A box of the usual size around a ball of less than half of it, in the middle of its frame."""
    content = read(root)
    image = np.full((64, 96, 3), 60, np.uint8)
    cv2.circle(image, (48 * 16 - 8, 32 * 16 - 8), 8, (240, 240, 240), -1, cv2.LINE_AA, 4)
    write_image(root / "train" / content["images"][3]["file_name"], image)
    content["annotations"][3].update(bbox=[44.75, 28.75, 6.5, 6.5], area=6.5**2)
    write_annotations(root / "train", content)


def file(name: str, data: bytes) -> Callable[[Path], None]:
    """Another content of a file of the train split."""
    return lambda root: (root / "train" / name).write_bytes(data)


def cut(name: str, share: float) -> Callable[[Path], None]:
    """A file that ends too early."""

    def plant(root: Path) -> None:
        path = root / "train" / name
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return plant


def cut_png(root: Path) -> None:
    data = encoded(scene(1), ".png")
    replace_image(root, data[: len(data) // 2], ".png")


def repaired(root: Path) -> None:
    data = encoded(scene(1, (256, 256)), ".jpg")
    replace_image(root, data[: len(data) // 2] + b"\xff\xd9", ".jpg", size_wh=(256, 256))


def linked_out(root: Path) -> None:
    path = root / "train" / "frame_000.jpg"
    path.rename(root / "elsewhere.jpg")
    path.symlink_to(root / "elsewhere.jpg")


def climbing(root: Path) -> None:
    (root / "train" / "frame_000.jpg").rename(root / "frame_000.jpg")
    edit(lambda c: c["images"][0].update(file_name="../frame_000.jpg"))(root)


def renamed(name: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        (root / "train" / "frame_000.jpg").rename(root / "train" / name)
        edit(lambda c: c["images"][0].update(file_name=name))(root)

    return plant


def no_utf8(root: Path) -> None:
    source = os.fsencode(root / "train" / "frame_000.jpg")
    os.rename(source, source.replace(b"frame_000", b"frame_\xff"))  # noqa: PTH104 - a name that no text can hold
    edit(lambda c: c["images"][0].update(file_name="frame_\udcff.jpg"))(root)


def copy_across(root: Path) -> None:
    shutil.copy(root / "train" / "frame_001.jpg", root / "valid" / "frame_002.jpg")


def copy_within(root: Path) -> None:
    shutil.copy(root / "train" / "frame_001.jpg", root / "train" / "frame_002.jpg")


def alike(first: str, second: str) -> Callable[[Path], None]:
    """Two takes of one scene that differ by noise."""

    def plant(root: Path) -> None:
        for seed, name in enumerate((first, second)):
            noise = np.random.default_rng(seed).normal(0, 3, (64, 96, 3))
            write_image(root / name, np.clip(scene(9) + noise, 0, 255).astype(np.uint8))

    return plant


def same_clip(root: Path) -> None:
    for split in ("train", "valid"):
        content = read(root, split)
        for index, entry in enumerate(content["images"]):
            entry["clip"] = "derby" if index == 0 else f"{split}_{index}"
        write_annotations(root / split, content)


def copies_of_one(root: Path) -> None:
    """The augmented copies that an export made of one image, one in each split."""
    for split, name in (("train", "kick_jpg.rf.0a1b.jpg"), ("valid", "kick_jpg.rf.9f8e.jpg")):
        (root / split / "frame_000.jpg").rename(root / split / name)
        content = read(root, split)
        content["images"][0]["file_name"] = name
        write_annotations(root / split, content)


def darker(root: Path) -> None:
    for path in sorted((root / "valid").glob("*.jpg")):
        image = cv2.imread(str(path))[..., ::-1]
        write_image(path, (image * 0.5).astype(np.uint8))


def two_classes(players: int, split: str = "train", others: int = 1) -> Callable[[Path], None]:
    """A second class with so many objects in the frames of a split, and so many others in the other one."""

    def plant(root: Path) -> None:
        for name in ("train", "valid"):
            content = read(root, name)
            content["categories"] = [*content["categories"], {"id": 7, "name": "player", "supercategory": "none"}]
            for number in range(players if name == split else others):
                image = 1 + number % len(content["images"])
                corner = [float(8 + number // len(content["images"]) % 8), float(10 + number % 7)]
                shape = [9.0 + number % 5, 20.0]
                content["annotations"].append(
                    {"id": 1000 + number, "image_id": image, "category_id": 7, "bbox": [*corner, *shape]}
                )
            write_annotations(root / name, content)

    return plant


def small_objects(root: Path) -> None:
    for split in ("train", "valid"):
        content = read(root, split)
        for item in content["annotations"]:
            item.update(bbox=[20.0, 20.0, 1.1, 1.1], area=1.21)
        write_annotations(root / split, content)


def unnamed(root: Path) -> None:
    content = read(root, "train")
    content["categories"][0]["name"] = ["x"]
    write_annotations(root / "train", content)
    content = read(root, "valid")
    content["categories"][0]["name"] = ""
    write_annotations(root / "valid", content)


def drop_boxes(count: int) -> Callable[[Content], object]:
    return lambda c: c.update(annotations=c["annotations"][count:])


def first(key: str, **values: Any) -> Callable[[Path], None]:
    return edit(lambda c: c[key][0].update(values))


def again(key: str, **values: Any) -> Callable[[Path], None]:
    return edit(lambda c: c[key].append({**c[key][0], **values}))


def tall(c: Content) -> None:
    c["images"][0].update(width=64, height=96)
    c["annotations"] = [item for item in c["annotations"] if item["image_id"] != 1]


def same_image_id(c: Content) -> None:
    c["images"][5]["id"] = 1
    c["annotations"] = [item for item in c["annotations"] if item["image_id"] != 6]


def all_tall(c: Content) -> None:
    for item in c["images"]:
        item.update(width=item["height"], height=item["width"])
    for item in c["annotations"]:
        item["bbox"] = [20.0, 20.0, *item["bbox"][2:]]


def all_larger(c: Content) -> None:
    for item in c["images"]:
        item.update(width=2 * item["width"], height=2 * item["height"])


def zero_based(c: Content) -> None:
    for item in c["annotations"]:
        item["category_id"] = 0


def corners(c: Content) -> None:
    for item in c["annotations"]:
        x, y, width, height = item["bbox"]
        item["bbox"] = [x, y, x + width, y + height]


TABLE = [
    Planted("annotations_missing", "error", "no _anno", lambda root: (root / "valid" / ANNOTATIONS).unlink()),
    Planted("annotations_unreadable", "error", "JSON", file(ANNOTATIONS, b'{"images": [')),
    Planted("annotations_unreadable", "error", "list at the top", file(ANNOTATIONS, b"[]"), note="list"),
    Planted("annotations_unreadable", "error", "images: got", edit(lambda c: c["images"].append(3)), note="item"),
    Planted("split_empty", "error", "empty", edit(lambda c: c.update(images=[], annotations=[]))),
    Planted("image_missing", "error", "no file", lambda root: (root / "train" / "frame_000.jpg").unlink()),
    Planted("image_missing", "error", "looked up", first("images", file_name="x" * 5000), note="too long"),
    Planted("image_unlisted", "warning", "not list", file("stray.png", encoded(scene(2), ".png"))),
    Planted("image_unreadable", "error", "decoded", file("frame_000.jpg", b"no image at all")),
    Planted("image_unreadable", "error", "empty", file("frame_000.jpg", b""), note="empty"),
    Planted("image_truncated", "error", "end marker", cut("frame_000.jpg", 0.7)),
    Planted("image_truncated", "error", "first scan", cut("frame_000.jpg", 0.05), note="head"),
    Planted("image_truncated", "error", "end chunk", cut_png, note="png"),
    Planted("image_damaged", "warning", "grey", repaired),
    Planted("image_cmyk", "warning", "four inks", lambda root: replace_image(root, flat_cmyk_jpeg(), ".jpg")),
    Planted(
        "image_16_bit",
        "warning",
        "16 bits",
        lambda root: replace_image(root, encoded(scene(1).astype(np.uint16) * 200, ".png"), ".png"),
    ),
    Planted("image_rotated", "warning", "stored pixels", lambda root: replace_image(root, jpeg_with_exif(6), ".jpg")),
    Planted(
        "image_rotated",
        "error",
        "annotator saw it rotated (96x64",
        lambda root: replace_image(root, jpeg_with_exif(6, (64, 96)), ".jpg"),
        note="as seen",
    ),
    Planted(
        "image_rotated",
        "warning",
        "can't tell",
        lambda root: replace_image(root, jpeg_with_exif(3), ".jpg"),
        note="half turn",
    ),
    Planted(
        "image_alpha",
        "info",
        "alpha",
        lambda root: replace_image(root, encoded(cv2.cvtColor(scene(1), cv2.COLOR_RGB2RGBA), ".png"), ".png"),
    ),
    Planted(
        "image_greyscale",
        "info",
        "one grey",
        lambda root: replace_image(root, encoded(scene(1)[..., 0], ".jpg"), ".jpg"),
    ),
    Planted("image_palette", "info", "palette", lambda root: replace_image(root, palette_png(), ".png")),
    Planted("image_format", "info", "holds png", file("frame_000.jpg", encoded(scene(1), ".png"))),
    Planted("image_size_wrong", "error", "file has 96x64 px, the annotation says 100x64", first("images", width=100)),
    Planted("image_size_wrong", "error", "swapped", edit(tall), note="swapped"),
    Planted("image_size_invalid", "error", "whole px", first("images", width="wide")),
    Planted("image_size_invalid", "error", "96x64", first("images", width=None, height=65), note="half"),
    Planted("image_sizes_other", "error", "width and height are swapped in 6 of 6", edit(all_tall)),
    Planted("image_sizes_other", "error", "resized after labelling", edit(all_larger), note="resized"),
    Planted("path_outside", "error", "'../frame_000.jpg' leads out", climbing),
    Planted("path_outside", "error", "is a link that leads out", linked_out, note="link"),
    Planted("name_odd", "warning", "control", renamed("frame\n0.jpg")),
    Planted("name_odd", "warning", "no UTF-8", no_utf8, note="bytes"),
    Planted("name_odd", "warning", "blank", renamed("frame_000.jpg "), note="blank"),
    Planted("name_odd", "warning", "NFD", renamed("e\u0301te.jpg"), note="nfd"),
    Planted("image_name_invalid", "error", "file_name", first("images", file_name=None)),
    Planted("id_invalid", "error", "whole number", first("annotations", id="seven")),
    Planted("image_id_duplicate", "error", "'frame_000.jpg'", edit(same_image_id)),
    Planted("file_name_duplicate", "error", "image 1 names", again("images", id=99, width=97)),
    Planted("ids_shifted", "error", "every category_id is one too low", edit(zero_based)),
    Planted(
        "read_as_meant", "info", "2 annotations have no id", edit(lambda c: [i.pop("id") for i in c["annotations"][:2]])
    ),
    Planted("boxes_meant_otherwise", "error", "look like corners", edit(corners)),
    Planted("category_id_duplicate", "error", "'goal'", again("categories", name="goal")),
    Planted("category_name_invalid", "error", "category 1: name: got ['x']", unnamed),
    Planted(
        "category_name_duplicate",
        "error",
        "category name 'ball' is used twice, by the ids 1 and 2",
        again("categories", id=2),
    ),
    Planted("image_id_unknown", "error", "image_id 77", first("annotations", image_id=77)),
    Planted("category_id_unknown", "error", "category_id 9; the file has 1", first("annotations", category_id=9)),
    Planted("iscrowd_invalid", "error", "iscrowd", first("annotations", iscrowd=2)),
    Planted("category_unused", "warning", "'goal' has no object", again("categories", id=5, name="goal")),
    Planted("category_unused", "info", "parent", again("categories", id=0, name="none"), note="placeholder"),
    Planted("box_not_a_number", "error", "bbox", box([1, 2, float("nan"), 4])),
    Planted("box_not_a_number", "error", "bbox", box([1, 2, 3]), note="three"),
    Planted("box_degenerate", "error", "0x5", box([10, 10, 0, 5])),
    Planted("box_degenerate", "error", "-4x5", box([10, 10, -4, 5]), note="negative"),
    Planted("box_outside", "error", "by 14 px", box([90, 10, 20, 20])),
    Planted("box_outside", "error", "leaves", box([200, 200, 8, 8]), note="far"),
    Planted("box_over_border", "info", "by 0.5 px", box([89.5, 20, 7, 7])),
    Planted("box_duplicate", "warning", "IoU 1.00", again("annotations", id=99)),
    Planted("box_subpixel", "warning", "0.5 px", box([10, 10, 0.5, 9])),
    Planted("area_wrong", "warning", "area 900", first("annotations", area=900)),
    Planted("area_wrong", "error", "expected a number of px^2", first("annotations", area=-3), note="negative"),
    Planted("box_huge", "warning", "about 6", odd_box(8), images=MANY),
    Planted("label_suspect_size", "warning", "about 6", odd_box(4), images=MANY),
    Planted("label_suspect_extent", "warning", "looser", loose_box, images=MANY),
    Planted("class_imbalance", "info", "14 times", two_classes(84)),
    Planted("class_absent", "error", "in valid", two_classes(6, "valid", 0), note="train"),
    Planted("frames_without_objects", "info", "1 of 6", edit(drop_boxes(1))),
    Planted("objects_tiny", "warning", "median ball has 7.4 px", small_objects),
    Planted("objects_near_border", "info", "1 of 6", box([0.5, 20, 7, 7])),
    Planted("duplicate_within", "warning", "train/frame_001.jpg", copy_within),
    Planted("leakage_exact", "error", "train/frame_001.jpg", copy_across),
    Planted("near_duplicate_within", "info", "2 of 6", alike("train/frame_001.jpg", "train/frame_002.jpg")),
    Planted("leakage_near", "error", "train/frame_001.jpg", alike("train/frame_001.jpg", "valid/frame_002.jpg")),
    Planted("leakage_clip", "error", "'derby': 1 images in train, 1 images in valid", same_clip),
    Planted("leakage_clip", "error", "'kick'", copies_of_one, note="copies"),
    Planted("domain_difference", "warning", "brightness", darker, images=MANY),
]
