"""How fast training samples are made, on one core, beside Albumentations, torchvision and RF-DETR's own transforms.

First operation by operation, then whole chains; at 1120 and 640 px, from decoded synthetic frames of 1920x1080. Each
round takes every frame once in each way, the ways in changing order. Seconds are the processor's, not the clock's, so
that other work on the machine counts as little as it can. "ratio" is the time of the fastest of the others over ours:
the median over the rounds, with a 95 % interval (bootstrap over the rounds). Above 1, ours is faster.

Boxes go along where ours moves them, which is in geometry and in blur; only ours lets them grow with the blur.
"aliased" shrinks without averaging, which loses small objects between the pixels: it is another operation, shown and
not counted in the ratio.

    pip install albumentations==2.0.8 rfdetr==1.11.2
    python benchmarks/augment.py [--frames 6] [--rounds 25] [--sizes 1120 640]
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image as Pillow
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from smallsight.augment.blur import blur_along, defocus
from smallsight.augment.camera import add_noise, compress, rescale
from smallsight.augment.colour import jitter_colour
from smallsight.augment.geometry import flip_horizontally, scaled, window
from smallsight.augment.pipeline import Chain
from smallsight.boxes import area, as_boxes
from smallsight.config.sections import Augmentation, ColorJitter, Sampling
from smallsight.records import Image, Sample, Truth
from smallsight.rng import keyed_generator
from smallsight.synth.dataset import render_frame

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
SOURCE_WH = (1920, 1080)
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
KERNEL_PX, STREAK_PX, NOISE, QUALITY, SHRINK = 5, 7, 0.02, 70, 0.7
ZOOM, CROP_PX = 1.25, 192
MOVING = ("flip", "resize, antialiased", "crop and enlarge", "Gaussian blur", "motion blur")
ALIASED = ("Albumentations", "RF-DETR by Albumentations")

Way = Callable[[int], object]
Table = dict[str, dict[str, Way]]
"""Ways to make sample `index`: by what is done, then by who does it."""


@dataclass(frozen=True)
class Decoded:
    """Frames in memory."""

    samples: list[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int) -> Sample:
        """The frame at `index`."""
        return self.samples[index]

    def resized(self, size: int) -> Decoded:
        """The frames as squares of `size` px."""
        return Decoded([scaled(sample, (size, size)) for sample in self.samples])


def render(count: int) -> Decoded:
    """Frames with a ball."""
    samples: list[Sample] = []
    clip = 0
    while len(samples) < count:
        frame, clip = render_frame(SOURCE_WH, 0, clip), clip + 1
        if frame.objects:
            boxes = as_boxes([item.box_xyxy for item in frame.objects])
            n = len(boxes)
            truth = Truth(boxes, np.zeros(n, np.int64), area(boxes), np.zeros(n, np.bool_))
            samples.append(Sample(frame.image, truth, len(samples)))
    return Decoded(samples)


def imported(name: str) -> ModuleType | None:
    """A package that is installed for the benchmark only, or None, with a line that says so."""
    try:
        return __import__(name, fromlist=["_"])
    except ModuleNotFoundError as error:
        print(f"{name} is left out: {error}. Install it as the head of this file says.", flush=True)
        return None


def our_operations(frames: Decoded, size: int) -> dict[str, Way]:
    """One operation each, on squares of `size` px; resizing and cutting from the source."""
    squares, generator = frames.resized(size), keyed_generator("benchmark")
    side = round(size / ZOOM)

    def cut(index: int) -> Sample:
        corner = int(generator.integers(SOURCE_WH[0] - side)), int(generator.integers(SOURCE_WH[1] - side))
        return scaled(window(frames.sample(index), corner, (side, side)), (size, size))

    return {
        "flip": lambda i: flip_horizontally(squares.sample(i)),
        "resize, antialiased": lambda i: scaled(frames.sample(i), (size, size)),
        "crop and enlarge": cut,
        "colour": lambda i: jitter_colour(squares.sample(i).image, ColorJitter(), generator),
        "Gaussian blur": lambda i: defocus(squares.sample(i), KERNEL_PX),
        "motion blur": lambda i: blur_along(squares.sample(i), STREAK_PX, generator.uniform(0, np.pi)),
        "noise": lambda i: add_noise(squares.sample(i).image, NOISE, generator),
        "down and up": lambda i: rescale(squares.sample(i).image, SHRINK),
        "JPEG": lambda i: compress(squares.sample(i).image, QUALITY),
    }


def albumentations_resize(a: ModuleType, from_wh: tuple[int, int], size: int) -> list[Any]:
    """To a square of `size` px: first the sides that shrink, since INTER_AREA averages only where no side grows."""
    width, height = (min(side, size) for side in from_wh)
    return [a.Resize(height, width, interpolation=cv2.INTER_AREA), a.Resize(size, size, interpolation=cv2.INTER_LINEAR)]


def albumentations_steps(a: ModuleType, size: int) -> dict[str, Any]:
    """The same operations with the same strengths; always applied."""
    side = round(size / ZOOM)
    pair = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    sigma = 0.15 * KERNEL_PX + 0.35
    return {
        "flip": a.HorizontalFlip(p=1),
        "resize, antialiased": a.Sequential(albumentations_resize(a, SOURCE_WH, size), p=1),
        "crop and enlarge": a.Sequential([a.RandomCrop(side, side), a.Resize(size, size)], p=1),
        "colour": a.ColorJitter((0.8, 1.2), (0.7, 1.3), (0.7, 1.3), (0, 0), p=1),
        "Gaussian blur": a.GaussianBlur(blur_limit=(KERNEL_PX,) * 2, sigma_limit=(sigma,) * 2, p=1),
        "motion blur": a.MotionBlur(
            blur_limit=(STREAK_PX,) * 2, allow_shifted=False, direction_range=(0, 0), angle_range=(0, 180), p=1
        ),
        "noise": a.GaussNoise(std_range=(NOISE, NOISE), p=1),
        "down and up": a.Downscale(scale_range=(SHRINK, SHRINK), interpolation_pair=pair, p=1),
        "JPEG": a.ImageCompression(quality_range=(QUALITY, QUALITY), p=1),
    }


def torchvision_steps(size: int) -> dict[str, Callable[..., object]]:
    """What torchvision has of it."""
    side = round(size / ZOOM)
    sigma = 0.15 * KERNEL_PX + 0.35
    return {
        "flip": v2.RandomHorizontalFlip(p=1),
        "resize, antialiased": v2.Resize((size, size), antialias=True),
        "crop and enlarge": v2.Compose([v2.RandomCrop(side), v2.Resize((size, size), antialias=True)]),
        "colour": v2.ColorJitter(0.2, 0.3, 0.3, 0),
        "Gaussian blur": v2.GaussianBlur(KERNEL_PX, (sigma, sigma)),
        "noise": v2.GaussianNoise(sigma=NOISE),
        "JPEG": v2.JPEG((QUALITY, QUALITY)),
    }


def torchvision_way(step: Callable[..., object], images: list[Any], frames: Decoded | None) -> Way:
    """`step` on the image at an index; on its boxes too where `frames` is given."""
    if frames is None:
        return lambda index: step(images[index])
    boxes = [
        tv_tensors.BoundingBoxes(sample.truth.boxes, format="XYXY", canvas_size=sample.size_wh[::-1])
        for sample in frames.samples
    ]
    return lambda index: step(images[index], boxes[index])


def operations(frames: Decoded, size: int, a: ModuleType | None) -> Table:
    """Ours, Albumentations, torchvision on Pillow images (as RF-DETR uses it) and on tensors."""
    squares, table = frames.resized(size), Table()
    theirs = albumentations_steps(a, size) if a else {}
    torchvision = torchvision_steps(size)
    for name, way in our_operations(frames, size).items():
        source = frames if name in ("resize, antialiased", "crop and enlarge") else squares
        boxed = source if name in MOVING else None
        images = [sample.image for sample in source.samples]
        table[name] = {"ours": way}
        if a:
            step = theirs[name]
            still: Way = lambda i, step=step, images=images: step(image=images[i])  # noqa: E731
            table[name]["Albumentations"] = albumentations_chain(a, source, [step]) if boxed else still
        if name in torchvision:
            tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
            table[name]["torchvision, tensor"] = torchvision_way(torchvision[name], tensors, boxed)
            if name not in ("noise", "JPEG"):  # tensors only
                pictures = [Pillow.fromarray(image) for image in images]
                table[name]["torchvision, Pillow"] = torchvision_way(torchvision[name], pictures, boxed)
    return table


def as_tensor(image: Image) -> torch.Tensor:
    """float32 (3, H, W), normalised."""
    tensor = functional.to_dtype(functional.to_image(image), torch.float32, scale=True)
    return functional.normalize(tensor, MEAN, DEVIATION)


PLAIN: dict[str, Any] = {"color_jitter": False}
ZOOMED: dict[str, Any] = {**PLAIN, "zoom": {"prob": 0.5, "factor_range": (ZOOM, ZOOM)}}
DOMAIN: dict[str, Any] = {
    **ZOOMED,
    "motion_blur": {"prob": 0.5, "max_kernel_size": STREAK_PX},
    "gaussian_blur": {"prob": 0.5, "max_kernel_size": KERNEL_PX},
    "color_jitter": {"prob": 0.5},
    "iso_noise": {"prob": 0.5, "noise_level": (NOISE, NOISE)},
    "downscale": {"prob": 0.5, "factor_range": (SHRINK, SHRINK)},
    "jpeg_compression": {"prob": 0.5, "quality_range": (QUALITY, QUALITY)},
}


def our_chain(frames: Decoded, settings: Mapping[str, Any], size: int, crop_px: int | None = None) -> Way:
    """Makes sample after sample, each from a key of its own, as in training."""
    chain = Chain(Sampling(), Augmentation.model_validate(settings), (size,), crop_px=crop_px)
    taken = iter(range(10**9))

    def make(index: int) -> Image:
        key = next(taken)
        return chain(index, frames, {}, keyed_generator("sample", key), keyed_generator("batch", key)).image

    return make


def whole_frame(a: ModuleType, size: int, *, zoomed: bool = False, aliased: bool = False) -> list[Any]:
    """A frame, or in half of the cases an enlarged part of it, as a square; mirrored in half of the cases."""
    part_wh = (round(SOURCE_WH[0] / ZOOM), round(SOURCE_WH[1] / ZOOM))
    frame, part = (albumentations_resize(a, wh, size)[1 if aliased else 0 :] for wh in (SOURCE_WH, part_wh))
    if not zoomed:
        return [*frame, a.HorizontalFlip(p=0.5)]
    cut = a.Sequential([a.RandomCrop(part_wh[1], part_wh[0]), *part], p=1)
    return [a.OneOf([a.Sequential(frame, p=1), cut], p=1), a.HorizontalFlip(p=0.5)]


def degraded(a: ModuleType, size: int) -> list[Any]:
    """The domain augmentation, each step in half of the cases."""
    steps = albumentations_steps(a, size)
    chosen = [steps[name] for name in ("motion blur", "Gaussian blur", "colour", "noise", "down and up", "JPEG")]
    for step in chosen:
        step.p = 0.5
    return chosen


def crops(a: ModuleType, size: int, crop_px: int) -> list[Any]:
    """A part of a frame whose longer side has `size` px, mirrored and coloured by our default."""
    side = round(crop_px * max(SOURCE_WH) / size)
    resize = albumentations_resize(a, (side, side), crop_px)
    colour = albumentations_steps(a, size)["colour"]
    colour.p = 0.8
    return [a.RandomCrop(side, side), *resize, a.HorizontalFlip(p=0.5), colour]


def albumentations_chain(a: ModuleType, frames: Decoded, steps: list[Any]) -> Way:
    """The steps in a Compose that carries the boxes along."""
    compose = a.Compose(steps, bbox_params=a.BboxParams("pascal_voc", label_fields=["labels"]))

    def make(index: int) -> Image:
        sample = frames.sample(index)
        return compose(image=sample.image, bboxes=sample.truth.boxes, labels=sample.truth.labels)["image"]

    return make


def rfdetr_chain(coco: ModuleType, frames: Decoded, size: int, **options: Any) -> Way:
    """RF-DETR's transform of a training image to a square, up to a normalised tensor; its default without options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compose = coco.make_coco_transforms_square_div_64("train", size, **options)
    images = [Pillow.fromarray(sample.image) for sample in frames.samples]

    def make(index: int) -> object:
        truth, size_hw = frames.sample(index).truth, torch.tensor(SOURCE_WH[::-1])
        target = {
            "boxes": torch.from_numpy(truth.boxes),
            "labels": torch.from_numpy(truth.labels),
            "area": torch.from_numpy(truth.areas),
            "iscrowd": torch.zeros(len(truth), dtype=torch.int64),
            "image_id": torch.tensor([index]),
            "orig_size": size_hw,
            "size": size_hw,
        }
        return compose(images[index], target)

    return make


def to_tensor(way: Way) -> Way:
    """As `way`, up to a normalised tensor."""
    return lambda index: as_tensor(way(index))


def chains(frames: Decoded, size: int, a: ModuleType | None, coco: ModuleType | None) -> Table:
    """Whole frames and crops. The first three rows end in a normalised tensor, as RF-DETR's transform does."""
    plain, zoomed, domain, small = (
        "whole frames",
        "whole frames or parts",
        "the same and domain",
        f"crops of {CROP_PX} px",
    )
    table: Table = {
        plain: {"ours": to_tensor(our_chain(frames, PLAIN, size))},
        zoomed: {"ours": to_tensor(our_chain(frames, ZOOMED, size))},
        domain: {"ours": to_tensor(our_chain(frames, DOMAIN, size))},
        small: {"ours": our_chain(frames, {}, size, crop_px=CROP_PX)},
    }
    if a:
        lists = {
            plain: whole_frame(a, size),
            zoomed: whole_frame(a, size, zoomed=True),
            domain: whole_frame(a, size, zoomed=True) + degraded(a, size),
        }
        for name, steps in lists.items():
            table[name]["Albumentations"] = to_tensor(albumentations_chain(a, frames, steps))
        table[small]["Albumentations"] = albumentations_chain(a, frames, crops(a, size, CROP_PX))
        for name, with_parts in ((plain, False), (zoomed, True)):
            steps = whole_frame(a, size, zoomed=with_parts, aliased=True)
            table[name]["Albumentations, aliased"] = to_tensor(albumentations_chain(a, frames, steps))
    if coco:
        table[plain]["RF-DETR"] = rfdetr_chain(coco, frames, size, scale_jitter=False)
        table[zoomed]["RF-DETR"] = rfdetr_chain(coco, frames, size)
    if a and coco:
        flip = {"HorizontalFlip": {"p": 0.5}}
        for name, with_parts in ((plain, False), (zoomed, True)):
            way = rfdetr_chain(coco, frames, size, scale_jitter=with_parts, aug_config=flip)
            table[name]["RF-DETR by Albumentations, aliased"] = way
    return table


def seconds_per_image(ways: Mapping[str, Way], frames: int, rounds: int) -> dict[str, np.ndarray]:
    """(rounds,) of the processor, by way, after one round that does not count."""
    generator = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for counted in [False] + [True] * rounds:
        for name in generator.permutation(list(ways)):
            began = time.process_time()
            for index in range(frames):
                ways[name](index)
            if counted:
                found[name].append((time.process_time() - began) / frames)
    return {name: np.array(seconds) for name, seconds in found.items()}


def ratio(ours: np.ndarray, other: np.ndarray) -> str:
    """Median over the rounds of how often ours fits into the other's time, with its 95 % interval."""
    each = other / ours
    drawn = np.random.default_rng(0).integers(len(each), size=(2000, len(each)))
    low, high = np.percentile(np.median(each[drawn], axis=1), (2.5, 97.5))
    return f"{np.median(each):.2f} [{low:.2f}, {high:.2f}]"


def report(title: str, table: Table, columns: Iterable[str], frames: int, rounds: int) -> None:
    """Images per second as a table in Markdown."""
    columns = list(columns)
    print(f"\n{title}: images/s, median over {rounds} rounds of {frames} images\n")
    print(f"| | {' | '.join(columns)} | ratio |\n|---|{'---:|' * len(columns)}---|", flush=True)
    for name, ways in table.items():
        found = seconds_per_image(ways, frames, rounds)
        cells = [f"{1 / np.median(found[column]):,.0f}" if column in found else "-" for column in columns]
        others = [seconds for column, seconds in found.items() if column != "ours" and "aliased" not in column]
        against = ratio(found["ours"], min(others, key=np.median)) if others else "-"
        print(f"| {name} | {' | '.join(cells)} | {against} |", flush=True)


def main() -> None:
    """Render the frames, measure, print the tables."""
    parser = argparse.ArgumentParser(description="Speed of the augmentation on one core.")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1120, 640])
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, coco = imported("albumentations"), imported("rfdetr.datasets.coco")
    logging.getLogger("rf-detr").setLevel(logging.WARNING)
    frames = render(given.frames)
    for size in given.sizes:
        columns = ("ours", "Albumentations", "torchvision, Pillow", "torchvision, tensor")
        report(f"{size} px", operations(frames, size, a), columns, given.frames, given.rounds)
        columns = ("ours", "Albumentations", "RF-DETR", *(f"{name}, aliased" for name in ALIASED))
        report(f"{size} px, chains", chains(frames, size, a, coco), columns, given.frames, given.rounds)


if __name__ == "__main__":
    main()
