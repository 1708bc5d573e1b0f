"""Equal and nearly equal images, within a split and across splits.

Nearly equal: the 64-bit hashes differ in at most `HASH_RADIUS` bits, and the 32x32 pictures have a correlation of
`LEAST_CORRELATION` or more. Both were set on 760 real match frames: the correlation of pairs from different matches
(some 260,000) was at most .957, while half of the frames have a pair with .99 in their own clip.
Sources: perceptual hash as in Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010,
section 3.2.1 (here the median is taken without the constant term); search as in Norouzi, Punjani and Fleet, "Fast
Search in Hamming Space with Multi-Index Hashing", CVPR 2012.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.data.data_findings import DataFinding, Where
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.images import Grey, ImageFacts
from smallsight.doctor.kinds import finding, place

HASH_RADIUS = 7
"""A hash has eight bands of eight bits: two hashes that differ in at most 7 bits have an equal band (pigeonhole)."""
LEAST_CORRELATION = 0.97
FLAT_LEVELS = 2.0
"""A picture whose grey levels have a lower standard deviation is too uniform to be compared."""
LARGEST_BUCKET = 512
"""In a larger bucket an image is compared only with this many neighbours in the order of the hashes."""
_BANDS = 8
_BITS = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint8)

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Photo:
    """An image that can be compared: its place, its facts and its group."""

    split: str
    where: Where
    facts: ImageFacts
    group: str


def perceptual_hash(thumb: Grey) -> int:
    """64 bits of a (32, 32) grey picture: which of its 8x8 lowest cosine terms are above their median."""
    terms = cv2.dct(thumb.astype(np.float32))[:8, :8].ravel()
    bits = terms > np.median(terms[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(hashes: Hashes) -> Pairs:
    """Pairs of hashes that differ in `HASH_RADIUS` bits at most.

    Args:
        hashes: (N,) uint64.
    Returns:
        (M, 2) positions, the smaller first, sorted, each pair once.
    """
    octets = hashes.astype(">u8").view(np.uint8).reshape(len(hashes), 8)
    keys = np.zeros(0, np.int64)
    for band in range(_BANDS):
        order = np.lexsort((hashes, octets[:, band]))
        _, starts = np.unique(octets[order, band], return_index=True)
        buckets = np.split(order, starts[1:])
        new = [pairs @ (len(hashes), 1) for bucket in buckets for pairs in _within_bucket(bucket, octets)]
        keys = np.unique(np.concatenate([keys, *new]))  # after each band, so that memory stays small
    return np.stack(np.divmod(keys, len(hashes)), axis=1)


def _within_bucket(bucket: npt.NDArray[np.int64], octets: npt.NDArray[np.uint8]) -> Iterator[Pairs]:
    """Near pairs among the images of a bucket, one step apart, two steps apart, and so on."""
    for step in range(1, min(len(bucket), LARGEST_BUCKET)):
        first, second = bucket[:-step], bucket[step:]
        near = _BITS[octets[first] ^ octets[second]].sum(axis=1) <= HASH_RADIUS
        if near.any():
            yield np.sort(np.stack([first[near], second[near]], axis=1), axis=1)


def correlations(thumbs: Sequence[Grey], pairs: Pairs) -> npt.NDArray[np.float64]:
    """Correlation of the grey levels of each pair of pictures, (M,) in [-1, 1]; 0 where one of them is flat."""
    flat = np.stack([thumb.ravel() for thumb in thumbs]).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    spread = flat.std(axis=1, keepdims=True)
    flat = np.divide(flat, spread, out=np.zeros_like(flat), where=spread >= FLAT_LEVELS)
    parts = np.array_split(pairs, max(1, len(pairs) // 10_000))
    return np.concatenate([(flat[part[:, 0]] * flat[part[:, 1]]).mean(axis=1, dtype=np.float64) for part in parts])


def photos(split: ExaminedSplit, facts: Sequence[ImageFacts]) -> list[Photo]:
    """The images of a split that were decoded, each file once."""
    groups = split.groups or ("",) * len(split.images)
    seen: set[object] = set()
    rows = []
    for index, (record, item) in enumerate(zip(split.images, facts, strict=True)):
        if item.thumb is not None and record.path not in seen:
            rows.append(Photo(split.name, split.where(index), item, groups[index]))
        seen.add(record.path)
    return rows


def duplicate_findings(all_photos: Sequence[Photo], *, near: bool = True) -> Iterator[DataFinding]:
    """Equal and nearly equal images; across splits each image is named once, with its most similar partner.

    Args:
        all_photos: of all splits, in order.
        near: whether to look for nearly equal ones as well.
    """
    first: dict[bytes, dict[str, Photo]] = {}  # of each content, the first image in each split
    for photo in all_photos:
        before = first.setdefault(photo.facts.digest, {})
        twin = next((other for split, other in before.items() if split != photo.split), before.get(photo.split))
        if twin is not None:
            kind = "duplicate_within" if twin.split == photo.split else "leakage_exact"
            yield finding(kind, photo.where, f"has the same content as {place(twin.where)}", twin=twin.where)
        before.setdefault(photo.split, photo)
    if near:
        singles = [next(iter(copies.values())) for copies in first.values()]
        yield from _near_findings(singles)


def _near_findings(singles: Sequence[Photo]) -> Iterator[DataFinding]:
    if len(singles) < 2:
        return
    thumbs = [photo.facts.thumb for photo in singles if photo.facts.thumb is not None]
    pairs = near_pairs(np.array([perceptual_hash(thumb) for thumb in thumbs], dtype=np.uint64))
    likeness = correlations(thumbs, pairs)
    names = [photo.split for photo in singles]
    alike = likeness >= LEAST_CORRELATION
    partner: dict[int, tuple[float, int]] = {}
    within: dict[str, set[int]] = {}
    for (a, b), value in zip(pairs[alike].tolist(), likeness[alike].tolist(), strict=True):
        if names[a] == names[b]:
            within.setdefault(names[a], set()).update((a, b))
        elif value > partner.get(b, (0.0, 0))[0]:
            partner[b] = (value, a)
    for b, (value, a) in sorted(partner.items()):
        message = f"looks like {place(singles[a].where)} (correlation {value:.3f})"
        yield finding("leakage_near", singles[b].where, message, twin=singles[a].where)
    for name, members in within.items():
        count = names.count(name)
        message = f"{len(members):,} of {count:,} images look nearly like another one of the split"
        yield finding("near_duplicate_within", Where(name), message)


def group_findings(splits: Sequence[ExaminedSplit], how: str) -> Iterator[DataFinding]:
    """Clips or matches that lie in more than one split; `how` says where the ids come from."""
    counts: dict[str, dict[str, int]] = {}
    for split in splits:
        for group in split.groups:
            if group:
                counts.setdefault(group, {}).setdefault(split.name, 0)
                counts[group][split.name] += 1
    for group, by_split in counts.items():
        if len(by_split) > 1:
            shares = ", ".join(f"{count} images in {name}" for name, count in by_split.items())
            where = Where(" + ".join(by_split))
            yield finding("leakage_clip", where, f"{group!r}: {shares}; by {how}")
