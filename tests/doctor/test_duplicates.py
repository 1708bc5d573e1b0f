from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import write_annotations, write_coco_folder, write_image
from doctor.planted import scene
from smallsight.doctor import duplicates
from smallsight.doctor.duplicates import HASH_RADIUS, correlations, near_pairs, perceptual_hash
from smallsight.doctor.examine import Options, examine


def grey(seed: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(scene(seed, (32, 32)), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def brute_force(hashes: list[int]) -> list[tuple[int, int]]:
    n = len(hashes)
    return [(a, b) for a in range(n) for b in range(a + 1, n) if bin(hashes[a] ^ hashes[b]).count("1") <= HASH_RADIUS]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_all_near_hashes_are_found_and_no_others(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    centres = [int(value) for value in generator.integers(0, 2**64, 4, dtype=np.uint64)]
    hashes = []
    for _ in range(count):
        flipped = generator.choice(64, int(generator.integers(9)), replace=False)
        hashes.append(centres[int(generator.integers(4))] ^ sum(1 << int(bit) for bit in flipped))
    pairs = near_pairs(np.array(hashes, dtype=np.uint64))
    assert [tuple(pair) for pair in pairs.tolist()] == brute_force(hashes)


def test_a_crowd_of_equal_hashes_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "LARGEST_BUCKET", 16)
    pairs = near_pairs(np.zeros(500, dtype=np.uint64))
    assert len(pairs) <= 16 * 500
    assert set(pairs.ravel().tolist()) == set(range(500))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.clip(image + np.random.default_rng(0).normal(0, 6, image.shape), 0, 255).astype(np.uint8),
        lambda image: np.clip(image.astype(int) + 25, 0, 255).astype(np.uint8),
        lambda image: cv2.GaussianBlur(image, (5, 5), 0),
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], 0),
    ],
    ids=["noise", "brighter", "blurred", "recompressed"],
)
def test_takes_of_one_scene_are_near_and_others_are_far(change: object) -> None:
    assert callable(change)
    thumbs = [grey(1), change(grey(1)), grey(2)]
    hashes = [perceptual_hash(thumb) for thumb in thumbs]
    assert bin(hashes[0] ^ hashes[1]).count("1") <= HASH_RADIUS
    assert bin(hashes[0] ^ hashes[2]).count("1") > HASH_RADIUS
    near, far = correlations(thumbs, np.array([[0, 1], [0, 2]]))
    assert near >= duplicates.LEAST_CORRELATION > far


def test_flat_pictures_are_not_alike() -> None:
    flat = np.full((32, 32), 90, np.uint8)
    assert correlations([flat, flat], np.array([[0, 1]])).tolist() == [0.0]


def panned(seed: int, offset: int) -> npt.NDArray[np.uint8]:
    """A frame of a camera that pans slowly over a scene."""
    return scene(seed, (160, 96))[:, offset : offset + 96]


def test_a_random_split_of_clips_leaks_and_a_split_by_clip_does_not(tmp_path: Path) -> None:
    for split, clips, offsets in (
        ("by_clip/train", (1, 2, 3), range(4)),
        ("by_clip/valid", (4,), range(4)),
        ("random/train", (1, 2, 3, 4), (0, 2, 3)),
        ("random/valid", (1, 2, 3, 4), (1,)),
    ):
        folder = tmp_path / split
        frames = [(clip, offset) for clip in clips for offset in offsets]
        content = write_coco_folder(folder, len(frames))
        for entry, (clip, offset) in zip(content["images"], frames, strict=True):
            write_image(folder / entry["file_name"], panned(clip, offset))
            entry.update(width=96, height=96)
        write_annotations(folder, content)

    def leaks(name: str) -> list[str]:
        found = examine(tmp_path / name, Options(workers=1)).findings
        return [item.where.file for item in found if item.kind.startswith("leakage")]

    assert leaks("by_clip") == []
    assert leaks("random") == [f"frame_{index:03d}.jpg" for index in range(4)]
